package distributary.interop;

import com.google.common.util.concurrent.ListenableFuture;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.kinesis.producer.KinesisProducer;
import software.amazon.kinesis.producer.KinesisProducerConfiguration;
import software.amazon.kinesis.producer.UserRecordResult;

/**
 * A producer with the Kinesis Producer Library. Arguments: Kinesis endpoint (https), stream, user records to write.
 *
 * <p>Prints {@code USER key hash-key-or-dash data-in-hex} for each user record that Kinesis has taken, then {@code PUT number}.
 */
public final class Produce {
  private static final StaticCredentialsProvider CREDENTIALS =
      StaticCredentialsProvider.create(AwsBasicCredentials.create("AKIDEXAMPLE", "secret"));

  /** The KPL aggregates only after its native part has listed the shards, which the first record starts. */
  private static final long UNTIL_SHARDS_ARE_KNOWN_MILLIS = 3_000;

  private record User(String key, String hashKey, byte[] data) {}

  public static void main(String[] args) {
    try {
      produce(URI.create(args[0]), args[1], Integer.parseInt(args[2]));
      System.exit(0);
    } catch (Exception e) {
      // The KPL's threads would keep the process alive.
      e.printStackTrace();
      System.exit(1);
    }
  }

  private static void produce(URI endpoint, String stream, int count) throws Exception {
    KinesisProducer producer = new KinesisProducer(configuration(endpoint));
    put(producer, stream, List.of(user(0)));
    Thread.sleep(UNTIL_SHARDS_ARE_KNOWN_MILLIS);

    put(producer, stream, IntStream.range(1, count).mapToObj(Produce::user).toList());
    System.out.println("PUT " + count);
    producer.destroy();
  }

  private static KinesisProducerConfiguration configuration(URI endpoint) {
    return new KinesisProducerConfiguration()
        .setRegion("us-east-1")
        .setCredentialsProvider(CREDENTIALS)
        .setKinesisEndpoint(endpoint.getHost())
        .setKinesisPort(endpoint.getPort())
        // Asked for the account at the start; any answer will do.
        .setStsEndpoint(endpoint.getHost())
        .setStsPort(endpoint.getPort())
        .setVerifyCertificate(false)
        .setMetricsLevel("none")
        .setRecordMaxBufferedTime(500);
  }

  /** Keys over all shards, every tenth record with an explicit hash key. */
  private static User user(int i) {
    String hashKey = i % 10 == 9 ? new java.math.BigInteger("2").pow(128).divide(java.math.BigInteger.valueOf(i + 1)).toString() : null;
    return new User("user-" + i % 80, hashKey, ("kpl " + i).getBytes(StandardCharsets.UTF_8));
  }

  private static void put(KinesisProducer producer, String stream, List<User> users) throws Exception {
    List<ListenableFuture<UserRecordResult>> results = new ArrayList<>();
    for (User user : users) {
      results.add(producer.addUserRecord(stream, user.key(), user.hashKey(), ByteBuffer.wrap(user.data())));
    }

    for (int i = 0; i < users.size(); i++) {
      UserRecordResult result = results.get(i).get(60, TimeUnit.SECONDS);
      if (!result.isSuccessful()) {
        throw new IllegalStateException("not taken: " + result.getAttempts());
      }
      User user = users.get(i);
      String hashKey = user.hashKey() == null ? "-" : user.hashKey();
      System.out.println("USER " + user.key() + " " + hashKey + " " + HexFormat.of().formatHex(user.data()));
    }
  }
}
