package shop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/** What to show to whom; one thread writes, many read. */
final class RecommendationCache {
  static final String DEFAULT_KEY = "__default__";

  /** What a visitor is shown, and whether it is the visitor's own answer or a default list. */
  record Shown(String source, List<String> items) {}

  private record Answer(long timeMs, List<String> items) {}

  private final ObjectMapper json = new ObjectMapper();
  private final Map<String, Answer> answers = new ConcurrentHashMap<>();
  private final Map<String, List<String>> defaults = new ConcurrentHashMap<>();
  private final Map<String, Long> highest = new HashMap<>(); // the writing thread's own
  private final AtomicLong repeated = new AtomicLong();
  private final long ttlMs;

  /** An answer older than {@code ttl} is not shown any more. */
  RecommendationCache(Duration ttl) {
    ttlMs = ttl.toMillis();
  }

  /** Takes a record of {@code recommendations}; a tombstone forgets the visitor. */
  void takeAnswer(String visitor, byte[] value, long timeMs) throws IOException {
    if (value == null) {
      answers.remove(visitor);
      return;
    }
    JsonNode answer = json.readTree(value);
    if (isRepeated(answer.required("id").asText())) {
      repeated.incrementAndGet();
      return;
    }
    List<String> items = itemIds(answer);
    switch (answer.required("status").asText()) {
      case "answered" -> {
        if (!items.isEmpty()) {
          answers.put(visitor, new Answer(timeMs, items));
        }
      }
      case "no_consent" -> answers.remove(visitor);
      default -> {
        // All other statuses say nothing newer about this visitor: what is cached stays.
      }
    }
  }

  /** Takes a record of {@code default-recommendations}; a tombstone ends a location's own list. */
  void takeDefault(String key, byte[] value) throws IOException {
    if (value == null) {
      defaults.remove(key);
    } else {
      defaults.put(key, itemIds(json.readTree(value)));
    }
  }

  /** Gives the visitor's own items, else the location's, else those for everybody. */
  Shown get(String visitor, String location, long nowMs) {
    Answer answer = answers.get(visitor);
    if (answer != null && nowMs - answer.timeMs() <= ttlMs) {
      return new Shown("visitor", answer.items());
    }
    List<String> everywhere = defaults.getOrDefault(DEFAULT_KEY, List.of());
    return new Shown("default", defaults.getOrDefault(location, everywhere));
  }

  /** Drops what has expired: memory is bounded by the visitors of one TTL. */
  void sweep(long nowMs) {
    answers.values().removeIf(answer -> nowMs - answer.timeMs() > ttlMs);
  }

  /** Counts the records that came again. */
  long repeated() {
    return repeated.get();
  }

  /** Tells a record that was delivered before: ids are topic-partition-offset, and offsets only grow. */
  private boolean isRepeated(String id) {
    int dash = id.lastIndexOf('-');
    String source = id.substring(0, dash);
    long offset = Long.parseLong(id.substring(dash + 1));
    if (offset <= highest.getOrDefault(source, -1L)) {
      return true;
    }
    highest.put(source, offset);
    return false;
  }

  private static List<String> itemIds(JsonNode record) {
    return record.required("items").valueStream().map(item -> item.required("item_id").asText()).toList();
  }
}
