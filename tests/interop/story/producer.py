"""Puts {"log": "Record 0"}, {"log": "Record 1"} … with partition key `key` on a stream, every so often.

python producer.py ENDPOINT STREAM HOW_MANY SECONDS_BETWEEN
"""

import json
import sys
import time

import boto3

endpoint, stream, how_many, between = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
kinesis = boto3.client("kinesis", endpoint_url=endpoint)
for i in range(how_many):
    kinesis.put_record(StreamName=stream, PartitionKey="key", Data=json.dumps({"log": f"Record {i}"}))
    time.sleep(between)
