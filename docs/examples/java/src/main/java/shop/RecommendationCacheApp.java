package shop;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Keeps every visitor's latest recommendations in memory and serves them on loopback.
 *
 * <pre>
 *   java -jar target/recommendation-cache.jar --brokers 127.0.0.1:9092
 *   curl 'http://127.0.0.1:8080/recommendations?visitor=v1&amp;location=Oslo'
 *   curl 'http://127.0.0.1:8080/trending?location=Oslo'
 * </pre>
 *
 * <p>Three topics become one cache: {@code recommendations} says what each visitor was last answered, {@code
 * default-recommendations} what to show to everybody else, also while the recommender is down, {@code trending} what is
 * viewed at each place. Every instance reads all partitions, so there is no consumer group and nothing to commit: a
 * restart reads the answers that are still fresh once more.
 */
public final class RecommendationCacheApp {
  private static final Duration SWEEP_INTERVAL = Duration.ofMinutes(1);

  private final KafkaConsumer<String, byte[]> consumer;
  private final RecommendationCache cache;
  private final String answers;
  private final String defaults;
  private final String trending;
  private final Duration ttl;

  private RecommendationCacheApp(String brokers, String prefix, Duration ttl) {
    this.ttl = ttl;
    cache = new RecommendationCache(ttl);
    answers = prefix + "recommendations";
    defaults = prefix + "default-recommendations";
    trending = prefix + "trending";
    consumer =
        new KafkaConsumer<>(
            Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers,
                ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest"),
            new StringDeserializer(),
            new ByteArrayDeserializer());
  }

  /** Follows the topics and serves until SIGINT or SIGTERM. */
  public static void main(String[] arguments) throws IOException {
    Map<String, String> options = options(arguments);
    RecommendationCacheApp app =
        new RecommendationCacheApp(
            options.getOrDefault("brokers", "127.0.0.1:9092"),
            options.getOrDefault("prefix", ""),
            Duration.ofMinutes(Long.parseLong(options.getOrDefault("ttl-minutes", "30"))));
    Thread follower = Thread.currentThread();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> app.stop(follower)));
    HttpServer server = app.serve(Integer.parseInt(options.getOrDefault("port", "8080")));
    try {
      app.follow();
    } finally {
      server.stop(0); // else its thread would keep the process
    }
  }

  /** Starts where the oldest fresh answer may lie, and follows the topics until {@code stop}. */
  private void follow() {
    assign();
    long nextSweepMs = System.currentTimeMillis() + SWEEP_INTERVAL.toMillis();
    try (consumer) {
      while (true) {
        consumer.poll(Duration.ofSeconds(1)).forEach(this::take);
        long nowMs = System.currentTimeMillis();
        if (nowMs > nextSweepMs) {
          cache.sweep(nowMs);
          nextSweepMs = nowMs + SWEEP_INTERVAL.toMillis();
        }
      }
    } catch (WakeupException stopped) {
      // stop() was called; the consumer closes.
    }
  }

  private void assign() {
    List<TopicPartition> answerPartitions = partitions(answers);
    List<TopicPartition> latestPartitions =
        Stream.of(defaults, trending).flatMap(topic -> partitions(topic).stream()).toList();
    consumer.assign(Stream.of(answerPartitions, latestPartitions).flatMap(List::stream).toList());
    consumer.seekToBeginning(latestPartitions);
    Map<TopicPartition, Long> since = new HashMap<>();
    answerPartitions.forEach(partition -> since.put(partition, System.currentTimeMillis() - ttl.toMillis()));
    Map<TopicPartition, OffsetAndTimestamp> starts = consumer.offsetsForTimes(since);
    for (TopicPartition partition : answerPartitions) {
      OffsetAndTimestamp start = starts.get(partition);
      if (start == null) { // nothing as fresh as that
        consumer.seekToEnd(List.of(partition));
      } else {
        consumer.seek(partition, start.offset());
      }
    }
  }

  private List<TopicPartition> partitions(String topic) {
    List<PartitionInfo> partitions = consumer.partitionsFor(topic);
    if (partitions.isEmpty()) {
      throw new IllegalStateException("There is no topic " + topic + ": check --brokers and --prefix.");
    }
    return partitions.stream().map(info -> new TopicPartition(topic, info.partition())).toList();
  }

  private void take(ConsumerRecord<String, byte[]> record) {
    try {
      if (record.topic().equals(defaults)) {
        cache.takeDefault(record.key(), record.value());
      } else if (record.topic().equals(trending)) {
        cache.takeTrending(record.key(), record.value());
      } else {
        cache.takeAnswer(record.key(), record.value(), record.timestamp());
      }
    } catch (IOException | RuntimeException unreadable) { // one bad record must not end the cache
      System.err.printf("unreadable: %s-%d@%d: %s%n", record.topic(), record.partition(), record.offset(), unreadable);
    }
  }

  private void stop(Thread follower) {
    consumer.wakeup();
    try {
      follower.join(Duration.ofSeconds(10).toMillis());
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private HttpServer serve(int port) throws IOException {
    HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
    server.createContext("/recommendations", exchange -> answer(exchange, shown(query(exchange))));
    server.createContext(
        "/trending", exchange -> answer(exchange, cache.trending(query(exchange).getOrDefault("location", ""))));
    server.createContext("/stats", exchange -> answer(exchange, Map.of("repeated", cache.repeated())));
    server.start();
    System.out.println("listening on http://127.0.0.1:" + server.getAddress().getPort());
    return server;
  }

  private RecommendationCache.Shown shown(Map<String, String> asked) {
    return cache.get(
        asked.getOrDefault("visitor", ""), asked.getOrDefault("location", ""), System.currentTimeMillis());
  }

  private static void answer(HttpExchange exchange, Object body) throws IOException {
    byte[] encoded = new ObjectMapper().writeValueAsBytes(body);
    try (exchange) {
      exchange.getResponseHeaders().set("Content-Type", "application/json");
      exchange.sendResponseHeaders(200, encoded.length);
      exchange.getResponseBody().write(encoded);
    }
  }

  private static Map<String, String> query(HttpExchange exchange) {
    Map<String, String> asked = new HashMap<>();
    String query = exchange.getRequestURI().getRawQuery();
    for (String pair : query == null ? new String[0] : query.split("&")) {
      int equals = pair.indexOf('=');
      if (equals > 0) {
        asked.put(decoded(pair.substring(0, equals)), decoded(pair.substring(equals + 1)));
      }
    }
    return asked;
  }

  private static String decoded(String text) {
    return URLDecoder.decode(text, StandardCharsets.UTF_8);
  }

  /** Reads {@code --name value} pairs. */
  private static Map<String, String> options(String[] arguments) {
    Map<String, String> options = new HashMap<>();
    for (int i = 0; i + 1 < arguments.length; i += 2) {
      options.put(arguments[i].replaceFirst("^--", ""), arguments[i + 1]);
    }
    return options;
  }
}
