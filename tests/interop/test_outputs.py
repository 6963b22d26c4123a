"""Every kind of output against a service that others wrote, through a proxy that rejects requests, loses answers, hangs, is slow,
throttles some entries of a request and refuses one record for good: nothing is missing, and order holds where a kind keeps it."""

import base64
import gzip
import json
import random
import threading
from collections import Counter

import boto3
import pytest
from botocore.config import Config

from distributary import finished
from proxy import Proxy
from records import put_all
from servers import CREDENTIALS, REGION, Moto

RECORDS, KEYS = 240, 12
# The record that a service refuses for good.
REFUSED = 77
# Requests with a fate: the rest goes through.
FATES = {3: "reject", 6: "lose", 9: "hang", 11: "slow", 14: "lose", 17: "reject", 20: "lose"}


def aws(service, endpoint):
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"], config=Config(retries={"total_max_attempts": 1}))


def number_of(text):
    return json.loads(text)["n"]


class Kind:
    """A kind of output: the keys of the configuration, a reader of what arrived, and faults of single entries."""

    # "none", or "key": the records of a key arrive in order.
    order = "none"
    fates = FATES
    # True if the service refuses single records for good.
    refuses = True

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def setup(self):
        pass

    def keys(self, endpoint):
        """The output's table in TOML, for the service at `endpoint`."""
        raise NotImplementedError

    def read(self):
        """(number, key) of each record that arrived, in the order of arrival."""
        raise NotImplementedError

    def through(self, body, forward, path):
        """Passes a request on; some entries are throttled the first time."""
        return forward(body)


class Chance:
    """Says of entries whether they are throttled now: a share of all numbers, once each."""

    def __init__(self, share=0.3):
        self.share = share
        self.random, self.seen, self.throttled, self.lock = random.Random(5), set(), 0, threading.Lock()

    def throttles(self, number):
        with self.lock:
            if number in self.seen or self.random.random() > self.share:
                self.seen.add(number)
                return False
            self.seen.add(number)
            self.throttled += 1
            return True


class JsonEntries(Kind):
    """A service with a list of entries in a JSON request: entries are taken out, and the answer gets failures in their place."""

    entries = None

    def __init__(self, endpoint):
        super().__init__(endpoint)
        self.chance = Chance()

    def number(self, entry):
        raise NotImplementedError

    def merge(self, answer, failures, count):
        """Puts {index: "throttled" or "refused"} into an answer for the entries that went through."""
        raise NotImplementedError

    def empty(self):
        raise NotImplementedError

    def through(self, body, forward, _path):
        request = json.loads(body) if body.startswith(b"{") else {}
        if self.entries not in request:
            return forward(body)
        entries, failures, kept = request[self.entries], {}, []
        for index, entry in enumerate(entries):
            number = self.number(entry)
            if number == REFUSED and self.refuses:
                failures[index] = "refused"
            elif self.chance.throttles(number):
                failures[index] = "throttled"
            else:
                kept.append(entry)
        status, headers, answer = 200, {"Content-Type": "application/x-amz-json-1.0"}, self.empty()
        if kept:
            status, headers, got = forward(json.dumps({**request, self.entries: kept}).encode())
            assert status == 200, got
            answer = json.loads(got)
        return status, headers, json.dumps(self.merge(answer, failures, len(entries))).encode()


def by_index(entries, failures, count, throttled, refused):
    """Answers in the order of the request, with failures in between."""
    entries = iter(entries)
    return [{"throttled": throttled, "refused": refused}[failures[i]] if i in failures else next(entries) for i in range(count)]


class Sqs(JsonEntries):
    entries, name = "Entries", "orders"

    def setup(self):
        self.client = aws("sqs", self.endpoint)
        attributes = {"FifoQueue": "true"} if self.name.endswith(".fifo") else {}
        self.url = self.client.create_queue(QueueName=self.name, Attributes=attributes)["QueueUrl"]

    def keys(self, endpoint):
        return f'type = "sqs"\nqueue-url = "{self.url}"\nendpoint-url = "{endpoint}"\nattributes = ["partitionKey", "sequenceNumber"]'

    def number(self, entry):
        return number_of(entry["MessageBody"])

    def empty(self):
        return {"Successful": [], "Failed": []}

    def merge(self, answer, failures, count):
        # Entries keep their ids, whatever their place.
        failed = [{"Id": str(i), "SenderFault": how == "refused", "Code": "InvalidMessageContents" if how == "refused" else "InternalError"}
                  for i, how in failures.items()]
        return {**answer, "Failed": answer.get("Failed", []) + failed}

    def read(self):
        found = []
        while True:
            # A FIFO queue of moto gives no message of a group whose last message is not deleted.
            messages = self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"],
                                                   AttributeNames=["All"]).get("Messages", [])
            if not messages:
                return found
            for message in messages:
                key = message["MessageAttributes"]["partitionKey"]["StringValue"]
                if self.name.endswith(".fifo"):
                    assert message["Attributes"]["MessageGroupId"] == key
                found.append((number_of(message["Body"]), key))
                self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])


class SqsFifo(Sqs):
    name, order = "orders.fifo", "key"


class Sns(Kind):
    """The answer of SNS is XML: entries that fail are written into it. Read by a queue that subscribes to the topic."""

    def setup(self):
        self.client, self.queue = aws("sns", self.endpoint), Sqs(self.endpoint)
        self.queue.name = "orders-of-topic"
        self.queue.setup()
        self.arn = self.client.create_topic(Name="orders")["TopicArn"]
        queue = self.queue.client.get_queue_attributes(QueueUrl=self.queue.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.client.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})

    def keys(self, endpoint):
        return f'type = "sns"\ntopic-arn = "{self.arn}"\nendpoint-url = "{endpoint}"\nattributes = "partitionKey"'

    def through(self, body, forward, _path):
        if b"Action=PublishBatch" not in body or f"n%22%3A+{REFUSED}%7D".encode() not in body.replace(b"%20", b"+"):
            return forward(body)
        # The first request with the record is refused as a whole, and so is the record alone.
        text = ('<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>InvalidParameter</Code>'
                '<Message>no</Message></Error><RequestId>1</RequestId></ErrorResponse>')
        return 400, {"Content-Type": "text/xml"}, text.encode()

    def read(self):
        return self.queue.read()


class Firehose(JsonEntries):
    entries, refuses = "Records", False
    # All records are in a few requests.
    fates = {1: "reject", 2: "lose", 3: "hang", 4: "slow"}

    def setup(self):
        aws("s3", self.endpoint).create_bucket(Bucket="firehose")
        self.client = aws("firehose", self.endpoint)
        self.client.create_delivery_stream(DeliveryStreamName="orders", S3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/firehose", "BucketARN": "arn:aws:s3:::firehose"})

    def keys(self, endpoint):
        return f'type = "firehose"\nstream = "orders"\nendpoint-url = "{endpoint}"\nnewline = true'

    def number(self, entry):
        return number_of(base64.b64decode(entry["Data"]))

    def empty(self):
        return {"RequestResponses": [], "FailedPutCount": 0}

    def merge(self, answer, failures, count):
        throttled = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
        entries = by_index(answer["RequestResponses"], failures, count, throttled, throttled)
        return {"FailedPutCount": len(failures), "RequestResponses": entries}

    def read(self):
        s3 = aws("s3", self.endpoint)
        lines = []
        for item in s3.list_objects_v2(Bucket="firehose").get("Contents", []):
            lines += s3.get_object(Bucket="firehose", Key=item["Key"])["Body"].read().splitlines()
        return [(number_of(line), json.loads(line)["key"]) for line in lines]


class EventBridge(JsonEntries):
    """Read by a queue that is the target of a rule for every event."""

    entries = "Entries"

    def setup(self):
        self.client, self.queue = aws("events", self.endpoint), Sqs(self.endpoint)
        self.queue.name = "orders-of-bus"
        self.queue.setup()
        queue = self.queue.client.get_queue_attributes(QueueUrl=self.queue.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.client.put_rule(Name="all", EventPattern='{"source": ["distributary"]}')
        self.client.put_targets(Rule="all", Targets=[{"Id": "1", "Arn": queue}])

    def keys(self, endpoint):
        return f'type = "eventbridge"\nbus = "default"\nendpoint-url = "{endpoint}"\ndetail-type = "order"'

    def number(self, entry):
        assert entry["DetailType"] == "order"
        return number_of(entry["Detail"])

    def empty(self):
        return {"Entries": [], "FailedEntryCount": 0}

    def merge(self, answer, failures, count):
        throttled, refused = {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow"}, {"ErrorCode": "MalformedDetail", "ErrorMessage": "no"}
        return {"FailedEntryCount": len(failures), "Entries": by_index(answer["Entries"], failures, count, throttled, refused)}

    def read(self):
        found, client, url = [], self.queue.client, self.queue.url
        while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                detail = json.loads(message["Body"])["detail"]
                found.append((detail["n"], detail["key"]))
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found


class DynamoDb(Kind):
    """Each key's newest record is what the table holds."""

    order = "newest"

    def setup(self):
        self.client, self.chance = aws("dynamodb", self.endpoint), Chance()
        self.client.create_table(TableName="orders-copy", BillingMode="PAY_PER_REQUEST",
                                 KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                                 AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}])

    def keys(self, endpoint):
        return f'type = "dynamodb"\ntable = "orders-copy"\nendpoint-url = "{endpoint}"'

    def through(self, body, forward, _path):
        request = json.loads(body)
        if "Item" not in request:
            return forward(body)
        number = number_of(base64.b64decode(request["Item"]["data"]["B"]))
        error = None
        if number == REFUSED:
            error = "ValidationException"
        elif self.chance.throttles(number):
            error = "ProvisionedThroughputExceededException"
        if not error:
            return forward(body)
        return 400, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(
            {"__type": f"com.amazonaws.dynamodb.v20120810#{error}", "message": "no"}).encode()

    def read(self):
        items = self.client.scan(TableName="orders-copy")["Items"]
        for item in items:
            assert len(item["seq"]["S"]) == 60 and item["seq"]["S"].isdigit()
        return [(number_of(item["data"]["B"]), item["id"]["S"]) for item in items]


class Iot(Kind):
    """moto keeps what was published, and cannot be asked for it by AWS's API."""

    def setup(self):
        self.published, self.lock, self.chance = [], threading.Lock(), Chance()

    def keys(self, endpoint):
        return f'type = "iot"\ntopic = "orders/{{partitionKey}}"\nendpoint-url = "{endpoint}"'

    def through(self, body, forward, path):
        number = number_of(body)
        if number == REFUSED:
            return 400, {"x-amzn-errortype": "InvalidRequestException"}, b'{"message": "no"}'
        if self.chance.throttles(number):
            return 429, {"x-amzn-errortype": "ThrottlingException"}, b'{"message": "slow"}'
        answer = forward(body)
        with self.lock:
            self.published.append((number, path.split("?")[0].split("%2F")[-1].split("/")[-1]))
        return answer

    def read(self):
        return self.published


class Lambda(Kind):
    """A strict stub of Invoke, made from AWS's service model: moto would run the function in Docker."""

    order = "key"
    LIMIT = 6_291_556

    def setup(self):
        self.got, self.lock, self.chance = [], threading.Lock(), Chance(0.04)

    def keys(self, endpoint):
        return f'type = "lambda"\nfunction = "orders"\nendpoint-url = "{endpoint}"\npartial-answers = true\non-function-error = "refuse"'

    def through(self, body, forward, path):
        headers = {"Content-Type": "application/json"}
        if not path.endswith("/invocations"):
            return 200, headers, b'{"FunctionName": "orders"}'
        if len(body) > self.LIMIT:
            return 413, {**headers, "x-amzn-errortype": "RequestTooLargeException"}, b'{"message": "too large"}'
        records = json.loads(body)["Records"]
        # The event of a mapping, member by member.
        for record in records:
            assert set(record) == {"kinesis", "eventSource", "eventVersion", "eventID", "eventName", "awsRegion", "eventSourceARN"}, record
            assert set(record["kinesis"]) == {"kinesisSchemaVersion", "partitionKey", "sequenceNumber", "data", "approximateArrivalTimestamp"}
        numbers = [number_of(base64.b64decode(record["kinesis"]["data"])) for record in records]
        if REFUSED in numbers:
            return 200, {**headers, "X-Amz-Function-Error": "Unhandled"}, b'{"errorMessage": "a poisoned record"}'
        failures, done = [], []
        for number, record in zip(numbers, records):
            if self.chance.throttles(number):
                failures = [{"itemIdentifier": record["kinesis"]["sequenceNumber"]}]
                break
            done.append((number, record["kinesis"]["partitionKey"]))
        with self.lock:
            self.got += done
        return 200, headers, json.dumps({"batchItemFailures": failures}).encode()

    def read(self):
        return self.got


class LambdaEvent(Lambda):
    """Lambda's queue: 202 for an event of up to 1 MiB."""

    order, refuses, LIMIT = "none", False, 1 << 20

    def keys(self, endpoint):
        return f'type = "lambda"\nfunction = "orders"\nendpoint-url = "{endpoint}"\ninvocation = "event"\nbatch-size = 20'

    def through(self, body, forward, path):
        headers = {"Content-Type": "application/json"}
        if not path.endswith("/invocations"):
            return 200, headers, b'{"FunctionName": "orders"}'
        records = json.loads(body)["Records"]
        numbers = [number_of(base64.b64decode(record["kinesis"]["data"])) for record in records]
        assert len(body) <= self.LIMIT and len(records) <= 20
        if self.chance.throttles(numbers[0]):
            return 429, {**headers, "x-amzn-errortype": "TooManyRequestsException", "Retry-After": "0"}, b'{"message": "slow"}'
        with self.lock:
            self.got += [(n, record["kinesis"]["partitionKey"]) for n, record in zip(numbers, records)]
        return 202, headers, b""


class S3(Kind):
    """Objects of lines: a record is durable when the object is there."""

    order, refuses = "key", False
    fates = {1: "reject", 2: "lose", 3: "hang", 4: "slow"}

    def setup(self):
        self.client = aws("s3", self.endpoint)
        self.client.create_bucket(Bucket="orders")

    def keys(self, endpoint):
        return (f'type = "s3"\nbucket = "orders"\nendpoint-url = "{endpoint}"\nformat = "json"\ncompression = "gzip"\n'
                'object-size = "2KiB"\nkey = "dt={yyyy}-{mm}-{dd}/{shard}/{first}-{last}.{ext}"')

    def read(self):
        lines = []
        # Names sort in the order of a shard.
        for item in self.client.list_objects_v2(Bucket="orders")["Contents"]:
            assert item["Key"].endswith(".jsonl.gz"), item["Key"]
            lines += gzip.decompress(self.client.get_object(Bucket="orders", Key=item["Key"])["Body"].read()).splitlines()
        return [(number_of(line), json.loads(line)["key"]) for line in lines]


KINDS = {"s3": S3, "dynamodb": DynamoDb, "iot": Iot, "lambda": Lambda, "lambda-event": LambdaEvent, "sqs": Sqs, "sqs-fifo": SqsFifo, "sns": Sns, "firehose": Firehose, "eventbridge": EventBridge}


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    with Moto(tmp_path_factory.mktemp("moto")) as server:
        yield server.endpoint


def records():
    return [(f"key-{i % KEYS}", None, json.dumps({"key": f"key-{i % KEYS}", "n": i}).encode()) for i in range(RECORDS)]


@pytest.mark.parametrize("name", KINDS)
def test_every_record_arrives_whatever_the_service_does(name, moto, start_local, files, measured):
    local = start_local("input:2")
    put_all(local.client(), "input", records())
    kind = KINDS[name](moto)
    kind.setup()
    with Proxy(moto, lambda number, _body: kind.fates.get(number), kind.through) as proxy:
        config = files / "one.toml"
        config.write_text(f'from = "input"\nstate = "one.db"\nuntil-caught-up = true\nwrite-timeout = "2s"\ndead-letter = "file:dead.jsonl"\n'
                          f'[[output]]\n{kind.keys(proxy.endpoint)}\n')
        said, took = finished(files, local.endpoint, "run", "-c", config, timeout=120)
        played = Counter(proxy.played)
    assert played["reject"] and played["lose"] and played["hang"] and played["slow"], played
    got = kind.read()
    dead_path = files / "dead.jsonl"
    dead = [number_of(base64.b64decode(json.loads(line)["data"])) for line in dead_path.read_text().splitlines()] if dead_path.exists() else []
    refused = set(dead)
    assert refused == ({REFUSED} if kind.refuses else set()), f"{name} refused {refused}"
    if kind.order == "newest":
        newest = {f"key-{n % KEYS}": n for n in range(RECORDS) if n not in refused}
        assert {key: number for number, key in got} == newest, f"{name}\n{said}"
    else:
        assert {number for number, _ in got} == set(range(RECORDS)) - refused, f"{name}: {len(got)} arrived\n{said}"
    assert all(key == f"key-{number % KEYS}" for number, key in got)
    if kind.order == "key":
        for key in {key for _, key in got}:
            first = list(dict.fromkeys(number for number, k in got if k == key))
            assert first == sorted(first), f"{name}: {key} is out of order"
    measured(f"{len(got)} messages for {RECORDS} records in {took:.1f} s; dead: {dead}; fates {dict(played)}")
