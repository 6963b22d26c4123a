//! Writing and reading.

use distributary_wire::types::*;

use crate::client::{Client, arn, local, shard_id};

#[tokio::test]
async fn what_is_put_is_got_in_order_in_both_formats() {
    let (local, _) = local(|b| b);
    local.create_stream("s", 1).unwrap();
    let cbor = Client::new(&local);
    let json = cbor.clone().json();
    let put = cbor.put("s", &["a", "b"]).await;
    assert_eq!(put.failed_record_count, Some(0));
    assert_eq!(put.records[0].shard_id.as_deref(), Some("shardId-000000000000"));
    json.put("s", &["c"]).await;
    let one = PutRecordRequest {
        stream_arn: Some(arn("s")),
        data: Some(bytes::Bytes::from_static(b"d").into()),
        partition_key: Some("k".into()),
        ..Default::default()
    };
    let one = json.call(one).await.unwrap();
    assert_eq!(one.sequence_number.len(), 56);
    for client in [&cbor, &json] {
        assert_eq!(client.all("s", &shard_id(0)).await, ["a", "b", "c", "d"]);
    }
    let iterator = json.iterator("s", &shard_id(0), ShardIteratorType::TrimHorizon).await;
    let page = json.get(&iterator).await.unwrap();
    let numbers: Vec<_> = page.records.iter().map(|r| r.sequence_number.clone()).collect();
    assert!(numbers.is_sorted() && numbers[3] == one.sequence_number);
    assert_eq!(page.records[0].partition_key.as_deref(), Some("a"));
    assert_eq!(page.millis_behind_latest, Some(0));
}
