"""Reads a stream of one shard from its beginning by get_shard_iterator and get_records, and prints each record's data.

python reader.py ENDPOINT STREAM HOW_MANY
"""

import sys
import time

import boto3

endpoint, stream, how_many = sys.argv[1], sys.argv[2], int(sys.argv[3])
kinesis = boto3.client("kinesis", endpoint_url=endpoint)
shard = kinesis.describe_stream(StreamName=stream)["StreamDescription"]["Shards"][0]["ShardId"]
iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
while how_many > 0:
    answer = kinesis.get_records(ShardIterator=iterator)
    for record in answer["Records"]:
        print(record["Data"].decode(), flush=True)
        how_many -= 1
    iterator = answer["NextShardIterator"]
    time.sleep(0.2)
