package distributary.interop;

import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequest;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.fanout.FanOutConfig;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * A KCL application. Arguments: Kinesis endpoint, DynamoDB endpoint, stream, polling|fanout, records to put first,
 * and the application's name (default: a new one).
 *
 * <p>It puts that many records with the Java SDK (by CBOR, its default), then consumes the stream from its beginning and prints a
 * line for each thing that happens: {@code RECORD shard sequence key data-in-hex}, {@code ENDED shard}. It ends when its stdin does.
 */
public final class Consume {
  private static final StaticCredentialsProvider CREDENTIALS =
      StaticCredentialsProvider.create(AwsBasicCredentials.create("AKIDEXAMPLE", "secret"));

  public static void main(String[] args) {
    try {
      consume(args);
      System.exit(0);
    } catch (Exception e) {
      // The KCL's threads would keep the process alive.
      e.printStackTrace();
      System.exit(1);
    }
  }

  private static void consume(String[] args) throws Exception {
    URI kinesisEndpoint = URI.create(args[0]);
    URI dynamoEndpoint = URI.create(args[1]);
    String stream = args[2];
    boolean fanOut = args[3].equals("fanout");
    int puts = Integer.parseInt(args[4]);

    KinesisAsyncClient kinesis =
        KinesisAsyncClient.builder()
            .endpointOverride(kinesisEndpoint)
            .region(Region.US_EAST_1)
            .credentialsProvider(CREDENTIALS)
            .httpClientBuilder(
                NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP2).maxConcurrency(100))
            .build();
    DynamoDbAsyncClient dynamo =
        DynamoDbAsyncClient.builder()
            .endpointOverride(dynamoEndpoint)
            .region(Region.US_EAST_1)
            .credentialsProvider(CREDENTIALS)
            .build();
    // Never called: metrics go nowhere.
    CloudWatchAsyncClient cloudWatch =
        CloudWatchAsyncClient.builder().region(Region.US_EAST_1).credentialsProvider(CREDENTIALS).build();

    put(kinesis, stream, puts);

    String application = args.length > 5 ? args[5] : "kcl-" + UUID.randomUUID();
    ConfigsBuilder configs =
        new ConfigsBuilder(
            new SingleStreamTracker(
                stream,
                InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON)),
            application,
            kinesis,
            dynamo,
            cloudWatch,
            UUID.randomUUID().toString(),
            Printer::new);
    // Its defaults are made for fleets; a test waits for every one of these.
    var leases = configs.leaseManagementConfig().failoverTimeMillis(2_000).leasesRecoveryAuditorExecutionFrequencyMillis(2_000);
    leases.workerUtilizationAwareAssignmentConfig().inMemoryWorkerMetricsCaptureFrequencyMillis(500);
    leases.workerUtilizationAwareAssignmentConfig().workerMetricsReporterFreqInMillis(1_000);
    Scheduler scheduler =
        new Scheduler(
            configs.checkpointConfig(),
            configs.coordinatorConfig().parentShardPollIntervalMillis(500).shardConsumerDispatchPollIntervalMillis(200),
            leases,
            configs.lifecycleConfig(),
            configs.metricsConfig().metricsFactory(new NullMetricsFactory()),
            configs.processorConfig(),
            configs
                .retrievalConfig()
                .retrievalSpecificConfig(
                    fanOut
                        ? new FanOutConfig(kinesis).streamName(stream).applicationName(application)
                        : new PollingConfig(stream, kinesis).idleTimeBetweenReadsInMillis(200)));
    Thread thread = new Thread(scheduler, "scheduler");
    thread.setDaemon(true);
    thread.start();

    while (System.in.read() >= 0) {
      // The test closes it when it has seen enough.
    }
    boolean stopped = scheduler.startGracefulShutdown().get(20, TimeUnit.SECONDS);
    System.out.println("STOPPED " + stopped);
  }

  private static void put(KinesisAsyncClient kinesis, String stream, int puts) throws Exception {
    for (int from = 0; from < puts; from += 500) {
      var entries = new java.util.ArrayList<PutRecordsRequestEntry>();
      for (int i = from; i < Math.min(from + 500, puts); i++) {
        byte[] data = ("java " + i + " ").getBytes(StandardCharsets.UTF_8);
        data[data.length - 1] = (byte) 0xFF; // not text
        entries.add(
            PutRecordsRequestEntry.builder().partitionKey("java-" + i % 20).data(SdkBytes.fromByteArray(data)).build());
      }
      var answer =
          kinesis.putRecords(PutRecordsRequest.builder().streamName(stream).records(entries).build()).get(30, TimeUnit.SECONDS);
      if (answer.failedRecordCount() != 0) {
        throw new IllegalStateException(answer.failedRecordCount() + " of " + entries.size() + " failed");
      }
    }
    System.out.println("PUT " + puts);
  }

  private static final class Printer implements ShardRecordProcessor {
    private String shard;

    @Override
    public void initialize(InitializationInput input) {
      shard = input.shardId();
    }

    @Override
    public void processRecords(ProcessRecordsInput input) {
      StringBuilder lines = new StringBuilder();
      for (KinesisClientRecord record : input.records()) {
        byte[] data = new byte[record.data().remaining()];
        record.data().duplicate().get(data);
        lines.append("RECORD ").append(shard).append(' ').append(record.sequenceNumber()).append(' ')
            .append(record.partitionKey()).append(' ').append(HexFormat.of().formatHex(data)).append('\n');
      }
      System.out.print(lines);
      System.out.flush();
    }

    @Override
    public void leaseLost(LeaseLostInput input) {
      System.out.println("LOST " + shard);
    }

    @Override
    public void shardEnded(ShardEndedInput input) {
      try {
        input.checkpointer().checkpoint();
      } catch (ShutdownException | InvalidStateException e) {
        System.out.println("NOT-CHECKPOINTED " + shard + " " + e);
      }
      System.out.println("ENDED " + shard);
    }

    @Override
    public void shutdownRequested(ShutdownRequestedInput input) {
      try {
        input.checkpointer().checkpoint();
      } catch (ShutdownException | InvalidStateException e) {
        System.out.println("NOT-CHECKPOINTED " + shard + " " + e);
      }
    }
  }
}
