// Copies the records of a Kinesis stream to the outputs of distributary.toml.
//
//   npx cdk deploy -c stream=ARN -c outputs=ARN,ARN -c package=package/
const { App, Duration, RemovalPolicy, Stack } = require("aws-cdk-lib");
const iam = require("aws-cdk-lib/aws-iam");
const kinesis = require("aws-cdk-lib/aws-kinesis");
const lambda = require("aws-cdk-lib/aws-lambda");
const { KinesisEventSource, S3OnFailureDestination } = require("aws-cdk-lib/aws-lambda-event-sources");
const s3 = require("aws-cdk-lib/aws-s3");

class Distributary extends Stack {
  constructor(scope, id, { stream, outputs, folder, architecture }) {
    super(scope, id);
    const failed = new s3.Bucket(this, "Failed", { removalPolicy: RemovalPolicy.RETAIN });

    const copy = new lambda.Function(this, "Function", {
      runtime: lambda.Runtime.PROVIDED_AL2023,
      architecture,
      handler: "bootstrap",
      code: lambda.Code.fromAsset(folder),
      memorySize: 256,
      timeout: Duration.seconds(60),
    });
    copy.addToRolePolicy(
      new iam.PolicyStatement({
        actions: ["kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:PutRecords"],
        resources: outputs,
      }),
    );

    const source = kinesis.Stream.fromStreamArn(this, "Stream", stream);
    copy.addEventSource(
      new KinesisEventSource(source, {
        startingPosition: lambda.StartingPosition.TRIM_HORIZON,
        batchSize: 1000,
        maxBatchingWindow: Duration.seconds(1),
        parallelizationFactor: 1,
        bisectBatchOnError: true,
        // Without a number of retries, the mapping retries until the records are too old: one hour
        // below the least retention of a stream.
        maxRecordAge: Duration.hours(23),
        reportBatchItemFailures: true,
        onFailure: new S3OnFailureDestination(failed),
      }),
    );
  }
}

const app = new App();
const context = (name, otherwise) => app.node.tryGetContext(name) ?? otherwise;
new Distributary(app, "Distributary", {
  stream: context("stream", "arn:aws:kinesis:eu-central-1:123456789012:stream/orders"),
  outputs: context("outputs", "arn:aws:kinesis:eu-central-1:123456789012:stream/orders-copy").split(","),
  folder: context("package", "package"),
  architecture: context("architecture", "arm64") === "arm64" ? lambda.Architecture.ARM_64 : lambda.Architecture.X86_64,
});
