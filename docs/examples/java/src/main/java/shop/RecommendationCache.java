package shop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/** What to show to whom; one thread writes, many read. */
final class RecommendationCache {
  static final String DEFAULT_KEY = "__default__";
  static final String TRENDING_KEY = "__all__";

  /** What a visitor is shown, and whether it is the visitor's own answer or a default list. */
  record Shown(String source, List<String> items, Map<String, String> because) {}

  /** What is viewed at a place, most viewed first, and what rises there, most first. */
  record Trending(String place, List<String> items, List<String> rising) {}

  /** A list; from {@code untilMs} on something in it is gone. Some items are owed to one of the session. */
  private record Held(long timeMs, long untilMs, List<String> items, Map<String, String> because) {
    Shown as(String source) {
      return new Shown(source, items, because);
    }
  }

  private final ObjectMapper json = new ObjectMapper();
  private final Map<String, Held> answers = new ConcurrentHashMap<>();
  private final Map<String, Held> defaults = new ConcurrentHashMap<>();
  private final Map<String, Trending> trending = new ConcurrentHashMap<>();
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
    switch (answer.required("status").asText()) {
      case "answered" -> {
        if (!answer.required("items").isEmpty()) {
          answers.put(visitor, held(answer, timeMs));
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
      defaults.put(key, held(json.readTree(value), 0));
    }
  }

  /** Takes a record of {@code trending}; a tombstone ends a place's own list. */
  void takeTrending(String key, byte[] value) throws IOException {
    if (value == null) {
      trending.remove(key);
      return;
    }
    List<String> items = new ArrayList<>();
    Map<String, Double> rising = new HashMap<>();
    for (JsonNode item : json.readTree(value).required("items")) {
      String itemId = item.required("item_id").asText();
      items.add(itemId);
      rising.put(itemId, item.required("rising").asDouble());
    }
    List<String> mostFirst =
        items.stream()
            .filter(item -> rising.get(item) > 0)
            .sorted(Comparator.comparing(rising::get, Comparator.reverseOrder()))
            .toList();
    trending.put(key, new Trending(key, items, mostFirst));
  }

  /** Gives the list of a place, else of the nearest around it that has one, else of all. */
  Trending trending(String location) {
    for (String place = location; !place.isEmpty(); place = around(place)) {
      Trending held = trending.get(place);
      if (held != null) {
        return held;
      }
    }
    return trending.getOrDefault(TRENDING_KEY, new Trending(TRENDING_KEY, List.of(), List.of()));
  }

  /** Gives a list that is not over: the visitor's own, else the nearest place's, else that for everybody. */
  Shown get(String visitor, String location, long nowMs) {
    Held own = answers.get(visitor);
    if (own != null && nowMs - own.timeMs() <= ttlMs && nowMs < own.untilMs()) {
      return own.as("visitor");
    }
    for (String place = location; !place.isEmpty(); place = around(place)) {
      Held held = defaults.get(place);
      if (held != null && nowMs < held.untilMs()) {
        return held.as("default");
      }
    }
    Held held = defaults.get(DEFAULT_KEY);
    return held != null && nowMs < held.untilMs()
        ? held.as("default")
        : new Shown("default", List.of(), Map.of());
  }

  /** Gives the place that a place lies in: nl/nh of nl/nh/ams, nothing of nl. */
  private static String around(String place) {
    return place.substring(0, Math.max(0, place.lastIndexOf('/')));
  }

  /** Drops what has expired: memory is bounded by the visitors of one TTL. */
  void sweep(long nowMs) {
    answers.values().removeIf(held -> nowMs - held.timeMs() > ttlMs);
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

  private static Held held(JsonNode record, long timeMs) {
    String until = record.path("valid_until").asText("");
    List<String> items = new ArrayList<>();
    Map<String, String> because = new HashMap<>();
    for (JsonNode item : record.required("items")) {
      String itemId = item.required("item_id").asText();
      items.add(itemId);
      if (item.has("because")) {
        because.put(itemId, item.get("because").asText());
      }
    }
    long untilMs = until.isEmpty() ? Long.MAX_VALUE : Instant.parse(until).toEpochMilli();
    return new Held(timeMs, untilMs, items, because);
  }
}
