"""The verbs of `distributary targets` on a table in moto, whose items have the form that the original's command line writes."""

import json
import subprocess

import boto3
import pytest

from distributary import BIN
from servers import CREDENTIALS, REGION, Moto, clean_env

SOURCE = f"arn:aws:kinesis:{REGION}:123456789012:stream/input"
TABLE = "fanoutTargets"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with Moto(tmp_path_factory.mktemp("moto")) as moto:
        keys = [{"AttributeName": "sourceArn", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}]
        types = [{"AttributeName": name, "AttributeType": "S"} for name in ("sourceArn", "id")]
        dynamodb(moto.endpoint).create_table(TableName=TABLE, KeySchema=keys, AttributeDefinitions=types, BillingMode="PAY_PER_REQUEST")
        yield moto.endpoint


def dynamodb(endpoint):
    return boto3.client("dynamodb", endpoint_url=endpoint, region_name=REGION,
                        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"])


def targets(folder, endpoint, *args, code=0):
    command = [BIN, "targets", *args, "--source-arn", SOURCE]
    env = clean_env(AWS_ENDPOINT_URL_DYNAMODB=endpoint)
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout


def test_the_verbs_write_items_of_the_originals_form(tmp_path, endpoint):
    register = ["register", "kinesis", "--id", "k2", "--destination", "remote", "--deaggregate", "true"]
    targets(tmp_path, endpoint, *register)
    items = dynamodb(endpoint).scan(TableName=TABLE)["Items"]
    assert items == [{
        "sourceArn": {"S": SOURCE}, "id": {"S": "k2"}, "type": {"S": "kinesis"}, "destination": {"S": "remote"},
        "active": {"BOOL": False}, "collapse": {"S": "none"}, "deaggregate": {"BOOL": True},
    }]

    targets(tmp_path, endpoint, *register, code=1)
    targets(tmp_path, endpoint, *register, "--force")
    targets(tmp_path, endpoint, "register", "kinesis", "--id", "bad", code=2)
    targets(tmp_path, endpoint, "activate", "--id", "k2")
    targets(tmp_path, endpoint, "activate", "--id", "none", code=1)
    targets(tmp_path, endpoint, "update", "--id", "k2", "--destination", "other")
    listed = json.loads(targets(tmp_path, endpoint, "list", "--json"))
    assert (listed["active"], listed["destination"]) == (True, "other")

    imported = targets(tmp_path, endpoint, "import")
    assert 'stream = "other"' in imported and 'name = "k2"' in imported
    targets(tmp_path, endpoint, "unregister", "--id", "k2")
    assert targets(tmp_path, endpoint, "list") == ""
