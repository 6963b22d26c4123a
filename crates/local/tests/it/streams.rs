//! Streams, their states and their shards.

use std::time::Duration;

use distributary_local::Delays;
use distributary_wire::hashkey::HashRange;
use distributary_wire::types::*;

use crate::client::{Client, EPOCH_MS, arn, entry, local, shard_id};

async fn status(client: &Client, stream: &str) -> String {
    let request = DescribeStreamSummaryRequest {
        stream_name: Some(stream.into()),
        ..Default::default()
    };
    match client.call(request).await {
        Ok(answer) => answer.stream_description_summary.stream_status.to_string(),
        Err(failure) => failure.code().to_owned(),
    }
}

fn create(name: &str, shards: i32) -> CreateStreamRequest {
    CreateStreamRequest {
        stream_name: Some(name.into()),
        shard_count: Some(shards),
        ..Default::default()
    }
}

fn split(stream: &str, shard: u32, at: u128) -> SplitShardRequest {
    SplitShardRequest {
        stream_name: Some(stream.into()),
        shard_to_split: Some(shard_id(shard)),
        new_starting_hash_key: Some(at.to_string()),
        ..Default::default()
    }
}

fn merge(stream: &str, shard: u32, adjacent: u32) -> MergeShardsRequest {
    MergeShardsRequest {
        stream_name: Some(stream.into()),
        shard_to_merge: Some(shard_id(shard)),
        adjacent_shard_to_merge: Some(shard_id(adjacent)),
        ..Default::default()
    }
}

#[tokio::test]
async fn states_last_as_configured() {
    let second = Duration::from_secs(1);
    let (local, clock) = local(|b| b.delays(Delays::all(second)));
    let client = Client::new(&local);
    client.call(create("s", 2)).await.unwrap();
    assert_eq!(status(&client, "s").await, "CREATING");
    assert_eq!(
        client.call(create("s", 2)).await.unwrap_err().code(),
        "ResourceInUseException"
    );
    clock.advance(second);
    assert_eq!(status(&client, "s").await, "ACTIVE");
    client.call(split("s", 0, 1 << 126)).await.unwrap();
    assert_eq!(status(&client, "s").await, "UPDATING");
    let refused = client.call(split("s", 1, 3 << 126)).await.unwrap_err();
    assert_eq!(refused.code(), "ResourceInUseException");
    assert_eq!(
        refused.message(),
        "Stream s under account 000000000000 not ACTIVE, instead in state UPDATING"
    );
    assert_eq!(client.put("s", &["a"]).await.failed_record_count, Some(0));
    assert_eq!(client.shards("s").await.len(), 2);
    clock.advance(second);
    assert_eq!(status(&client, "s").await, "ACTIVE");
    assert_eq!(client.shards("s").await.len(), 4);
    let delete = DeleteStreamRequest {
        stream_name: Some("s".into()),
        ..Default::default()
    };
    client.call(delete).await.unwrap();
    assert_eq!(status(&client, "s").await, "DELETING");
    clock.advance(second);
    assert_eq!(status(&client, "s").await, "ResourceNotFoundException");
    client.call(create("s", 1)).await.unwrap();
    assert_eq!(status(&client, "s").await, "CREATING");
}

#[tokio::test]
async fn splits_and_merges_keep_lineage_ranges_and_order() {
    let (local, clock) = local(|b| b);
    local.create_stream("s", 2).unwrap();
    let client = Client::new(&local).json();
    client.put("s", &["before"]).await;
    client.call(split("s", 0, 1 << 126)).await.unwrap();
    clock.advance(Duration::from_millis(10));
    client.call(merge("s", 3, 1)).await.unwrap();
    let shards = client.shards("s").await;
    let lineage: Vec<_> = shards
        .iter()
        .map(|s| {
            (
                s.parent_shard_id.as_deref(),
                s.adjacent_parent_shard_id.as_deref(),
            )
        })
        .collect();
    let (zero, one, three) = (shard_id(0), shard_id(1), shard_id(3));
    let parent = Some(zero.as_str());
    let merged = (Some(three.as_str()), Some(one.as_str()));
    assert_eq!(
        lineage,
        [
            (None, None),
            (None, None),
            (parent, None),
            (parent, None),
            merged
        ]
    );

    let range =
        |i: usize| HashRange::from_wire(shards[i].hash_key_range.as_ref().unwrap()).unwrap();
    assert_eq!(
        range(4),
        HashRange {
            start: 1 << 126,
            end: u128::MAX
        }
    );

    assert_eq!(
        range(2),
        HashRange {
            start: 0,
            end: (1 << 126) - 1
        }
    );

    let numbers = |i: usize| shards[i].sequence_number_range.clone().unwrap();
    for (parent, child) in [(0, 2), (0, 3), (3, 4), (1, 4)] {
        assert!(
            numbers(parent).ending_sequence_number.unwrap()
                < numbers(child).starting_sequence_number
        );
    }

    assert!(numbers(4).ending_sequence_number.is_none());
    for (request, code) in [
        (merge("s", 2, 2), "InvalidArgumentException"),
        (merge("s", 0, 1), "InvalidArgumentException"),
        (merge("s", 2, 9), "ResourceNotFoundException"),
    ] {
        assert_eq!(client.call(request).await.unwrap_err().code(), code);
    }
    for at in [0, 1, 1 << 126, u128::MAX] {
        assert_eq!(
            client.call(split("s", 2, at)).await.unwrap_err().code(),
            "InvalidArgumentException"
        );
    }
}

#[tokio::test]
async fn a_closed_shard_is_read_to_its_end_and_names_its_children() {
    let (local, _) = local(|b| b);
    local.create_stream("s", 1).unwrap();
    let client = Client::new(&local);
    client.put("s", &["a", "b", "c"]).await;
    client.call(split("s", 0, 1 << 127)).await.unwrap();
    client.put("s", &["d"]).await;
    let iterator = client
        .iterator("s", &shard_id(0), ShardIteratorType::TrimHorizon)
        .await;
    let request = GetRecordsRequest {
        shard_iterator: Some(iterator),
        limit: Some(2),
        ..Default::default()
    };

    let first = client.call(request).await.unwrap();
    assert_eq!((first.records.len(), first.child_shards), (2, None));
    let last = client
        .get(&first.next_shard_iterator.unwrap())
        .await
        .unwrap();
    assert_eq!((last.records.len(), last.next_shard_iterator), (1, None));
    let children = last.child_shards.unwrap();
    assert_eq!(
        children
            .iter()
            .map(|c| c.shard_id.clone())
            .collect::<Vec<_>>(),
        [shard_id(1), shard_id(2)]
    );

    assert!(children.iter().all(|c| c.parent_shards == [shard_id(0)]));
    // A reader that starts at the end of the shard gets the children, too.
    let late = client
        .iterator("s", &shard_id(0), ShardIteratorType::Latest)
        .await;
    let late = client.get(&late).await.unwrap();
    assert_eq!(
        (late.next_shard_iterator, late.child_shards.map(|c| c.len())),
        (None, Some(2))
    );
}

#[tokio::test]
async fn shards_are_filtered_and_paged() {
    let hour = Duration::from_secs(3600);
    let (local, clock) = local(|b| b);
    local.create_stream("s", 2).unwrap();
    let client = Client::new(&local);
    clock.advance(hour);
    client.call(split("s", 0, 1 << 126)).await.unwrap();
    clock.advance(hour);
    client.call(merge("s", 2, 3)).await.unwrap();
    clock.advance(hour);
    let at = |hours: i64| Some(Timestamp(EPOCH_MS.cast_signed() + hours * 3_600_000 - 1));
    let list = async |kind: ShardFilterType, timestamp, shard: Option<String>| -> Vec<u32> {
        let filter = ShardFilter {
            kind: Some(kind),
            shard_id: shard,
            timestamp,
        };

        let mut request = ListShardsRequest {
            stream_arn: Some(arn("s")),
            shard_filter: Some(filter),
            max_results: Some(1),
            ..Default::default()
        };

        let mut out = Vec::new();
        loop {
            let page = client.call(request).await.unwrap();
            for shard in page.shards.unwrap() {
                out.push(shard.shard_id.rsplit('-').next().unwrap().parse().unwrap());
            }
            let Some(next_token) = page.next_token else {
                return out;
            };
            request = ListShardsRequest {
                next_token: Some(next_token),
                max_results: Some(1),
                ..Default::default()
            };
        }
    };

    assert_eq!(
        list(ShardFilterType::FromTrimHorizon, None, None).await,
        [0, 1, 2, 3, 4]
    );
    assert_eq!(
        list(ShardFilterType::AtTrimHorizon, None, None).await,
        [0, 1]
    );
    assert_eq!(list(ShardFilterType::AtLatest, None, None).await, [1, 4]);
    assert_eq!(
        list(ShardFilterType::AtTimestamp, at(1), None).await,
        [0, 1]
    );
    assert_eq!(
        list(ShardFilterType::AtTimestamp, at(2), None).await,
        [1, 2, 3]
    );
    assert_eq!(
        list(ShardFilterType::FromTimestamp, at(2), None).await,
        [1, 2, 3, 4]
    );
    assert_eq!(
        list(ShardFilterType::AfterShardId, None, Some(shard_id(2))).await,
        [3, 4]
    );
    // A closed shard is removed after the retention period of a day.
    clock.advance(22 * hour);
    assert_eq!(
        list(ShardFilterType::FromTrimHorizon, None, None).await,
        [1, 2, 3, 4]
    );
    let garbage = ListShardsRequest {
        next_token: Some("AAAA".into()),
        ..Default::default()
    };
    assert_eq!(
        client.call(garbage).await.unwrap_err().code(),
        "InvalidArgumentException"
    );
    let both = ListShardsRequest {
        next_token: Some("AAAA".into()),
        stream_name: Some("s".into()),
        ..Default::default()
    };

    assert_eq!(
        client.call(both).await.unwrap_err().code(),
        "InvalidArgumentException"
    );
}

#[tokio::test]
async fn a_new_shard_count_gives_equal_ranges() {
    for (from, to) in [(1, 2), (2, 3), (3, 2), (4, 2), (5, 7), (7, 4), (3, 3)] {
        let (local, _) = local(|b| b);
        local.create_stream("s", from).unwrap();
        let client = Client::new(&local);
        let request = UpdateShardCountRequest {
            stream_name: Some("s".into()),
            target_shard_count: Some(to),
            scaling_type: Some(ScalingType::UniformScaling),
            ..Default::default()
        };

        client.call(request).await.unwrap();
        let filter = ShardFilter {
            kind: Some(ShardFilterType::AtLatest),
            ..Default::default()
        };
        let request = ListShardsRequest {
            stream_name: Some("s".into()),
            shard_filter: Some(filter),
            ..Default::default()
        };

        let open = client.call(request).await.unwrap().shards.unwrap();
        let mut ranges: Vec<_> = open
            .iter()
            .map(|s| HashRange::from_wire(s.hash_key_range.as_ref().unwrap()).unwrap())
            .collect();
        ranges.sort_unstable();
        assert_eq!(ranges, HashRange::even(to.unsigned_abs()), "{from} to {to}");
    }

    let (local, _) = local(|b| b);
    local.create_stream("s", 4).unwrap();
    for count in [1, 9] {
        let request = UpdateShardCountRequest {
            stream_name: Some("s".into()),
            target_shard_count: Some(count),
            scaling_type: Some(ScalingType::UniformScaling),
            ..Default::default()
        };

        let refused = Client::new(&local).call(request).await.unwrap_err();
        assert_eq!(refused.code(), "InvalidArgumentException");
    }
}

#[tokio::test]
async fn records_go_to_the_shard_of_their_hash_key() {
    let (local, _) = local(|b| b);
    local.create_stream("s", 4).unwrap();
    let client = Client::new(&local);
    let quarter = HashRange::even(4);
    let mut records: Vec<_> = quarter
        .iter()
        .flat_map(|range| [range.start, range.end])
        .map(|key| PutRecordsRequestEntry {
            explicit_hash_key: Some(key.to_string()),
            ..entry("k", b"x")
        })
        .collect();
    // The MD5 of "abc" starts with 0x90.
    records.push(entry("abc", b"x"));
    let request = PutRecordsRequest {
        stream_name: Some("s".into()),
        records: Some(records),
        ..Default::default()
    };

    let answer = client.call(request).await.unwrap();
    let shards: Vec<_> = answer
        .records
        .iter()
        .map(|r| r.shard_id.clone().unwrap())
        .collect();
    let expected: Vec<_> = [0, 0, 1, 1, 2, 2, 3, 3, 2]
        .into_iter()
        .map(shard_id)
        .collect();
    assert_eq!(shards, expected);
}

#[tokio::test]
async fn regions_and_accounts_have_separate_streams() {
    let (local, _) = local(|b| b);
    local.create_stream("s", 1).unwrap();
    let here = Client::new(&local);
    let there = Client {
        region: "eu-central-1",
        ..here.clone()
    };
    assert_eq!(status(&there, "s").await, "ResourceNotFoundException");
    there.call(create("s", 3)).await.unwrap();
    there.put("s", &["x"]).await;
    assert!(here.all("s", &shard_id(0)).await.is_empty());
    let request = DescribeStreamRequest {
        stream_name: Some("s".into()),
        ..Default::default()
    };
    let described = there.call(request).await.unwrap().stream_description;
    assert_eq!(
        described.stream_arn,
        "arn:aws:kinesis:eu-central-1:000000000000:stream/s"
    );
    assert_eq!(described.shards.len(), 3);
    // An ARN reaches the stream from any region.
    let request = DescribeStreamRequest {
        stream_arn: Some(described.stream_arn),
        ..Default::default()
    };
    assert_eq!(
        here.call(request)
            .await
            .unwrap()
            .stream_description
            .shards
            .len(),
        3
    );

    let both = DescribeStreamRequest {
        stream_arn: Some(arn("s")),
        stream_name: Some("other".into()),
        ..Default::default()
    };

    assert_eq!(
        here.call(both).await.unwrap_err().code(),
        "InvalidArgumentException"
    );
}

#[tokio::test]
async fn settings_are_kept_and_shown() {
    let (local, _) = local(|b| b);
    let client = Client::new(&local).json();
    let auto = CreateStreamRequest {
        stream_name: Some("s".into()),
        stream_mode_details: Some(StreamModeDetails {
            stream_mode: Some(StreamMode::OnDemand),
        }),
        record_distribution_strategy: Some(RecordDistributionStrategy::Auto),
        max_record_size_in_kib: Some(2048),
        tags: Some([("a".to_owned(), "1".to_owned())].into()),
        ..Default::default()
    };

    client.call(auto).await.unwrap();
    let name = Some("s".to_owned());
    client
        .call(IncreaseStreamRetentionPeriodRequest {
            stream_name: name.clone(),
            retention_period_hours: Some(48),
            ..Default::default()
        })
        .await
        .unwrap();
    client
        .call(StartStreamEncryptionRequest {
            stream_name: name.clone(),
            encryption_type: Some(EncryptionType::Kms),
            key_id: Some("alias/aws/kinesis".into()),
            ..Default::default()
        })
        .await
        .unwrap();
    client
        .call(EnableEnhancedMonitoringRequest {
            stream_name: name.clone(),
            shard_level_metrics: Some(vec![MetricsName::All]),
            ..Default::default()
        })
        .await
        .unwrap();
    client
        .call(DisableEnhancedMonitoringRequest {
            stream_name: name.clone(),
            shard_level_metrics: Some(vec![MetricsName::IncomingBytes]),
            ..Default::default()
        })
        .await
        .unwrap();
    let request = DescribeStreamSummaryRequest {
        stream_name: name.clone(),
        ..Default::default()
    };
    let shown = client
        .call(request)
        .await
        .unwrap()
        .stream_description_summary;
    assert_eq!(
        (shown.retention_period_hours, shown.max_record_size_in_kib),
        (48, Some(2048))
    );
    assert_eq!(shown.key_id.as_deref(), Some("alias/aws/kinesis"));
    assert_eq!(
        shown.enhanced_monitoring[0]
            .shard_level_metrics
            .as_ref()
            .unwrap()
            .len(),
        6
    );

    assert_eq!(
        shown.record_distribution_strategy,
        Some(RecordDistributionStrategy::Auto)
    );
    assert_eq!(shown.open_shard_count, 4);
    // With AUTO, keys are optional and ignored.
    let keyless = PutRecordsRequestEntry {
        data: Some(bytes::Bytes::from_static(b"x").into()),
        ..Default::default()
    };
    let records = vec![keyless, entry("same", b"y"), entry("same", b"z")];
    let put = PutRecordsRequest {
        stream_name: name.clone(),
        records: Some(records),
        ..Default::default()
    };

    let answer = client.call(put).await.unwrap();
    assert_eq!(answer.encryption_type, Some(EncryptionType::Kms));
    let shards: std::collections::BTreeSet<_> =
        answer.records.iter().map(|r| r.shard_id.clone()).collect();
    assert_eq!(shards.len(), 3);
    let decrease = DecreaseStreamRetentionPeriodRequest {
        stream_name: name,
        retention_period_hours: Some(72),
        ..Default::default()
    };

    assert_eq!(
        client.call(decrease).await.unwrap_err().code(),
        "InvalidArgumentException"
    );
}

#[tokio::test]
async fn tags_and_policies_of_streams_and_consumers() {
    let (local, _) = local(|b| b);
    local.create_stream("s", 1).unwrap();
    let client = Client::new(&local);
    let consumer = client.consumer(&arn("s"), "c").await;
    for resource in [arn("s"), consumer] {
        let resource_arn = Some(resource);
        let many: std::collections::BTreeMap<_, _> = (0..50)
            .map(|i| (format!("k{i:02}"), i.to_string()))
            .collect();
        let tag = |tags| TagResourceRequest {
            resource_arn: resource_arn.clone(),
            tags: Some(tags),
            ..Default::default()
        };

        client.call(tag(many)).await.unwrap();
        let more = client
            .call(tag([("x".to_owned(), String::new())].into()))
            .await
            .unwrap_err();
        assert_eq!(more.code(), "LimitExceededException");
        client
            .call(UntagResourceRequest {
                resource_arn: resource_arn.clone(),
                tag_keys: Some(vec!["k00".into()]),
                ..Default::default()
            })
            .await
            .unwrap();
        let list = ListTagsForResourceRequest {
            resource_arn: resource_arn.clone(),
            ..Default::default()
        };
        assert_eq!(client.call(list).await.unwrap().tags.unwrap().len(), 49);
        let get = GetResourcePolicyRequest {
            resource_arn: resource_arn.clone(),
            ..Default::default()
        };
        assert_eq!(
            client.call(get.clone()).await.unwrap_err().code(),
            "ResourceNotFoundException"
        );
        let put = |policy: &str| PutResourcePolicyRequest {
            resource_arn: resource_arn.clone(),
            policy: Some(policy.into()),
            ..Default::default()
        };

        assert_eq!(
            client.call(put("no")).await.unwrap_err().code(),
            "InvalidArgumentException"
        );
        client
            .call(put("{\"Version\":\"2012-10-17\"}"))
            .await
            .unwrap();
        assert_eq!(
            client.call(get).await.unwrap().policy,
            "{\"Version\":\"2012-10-17\"}"
        );
    }

    let list = ListTagsForStreamRequest {
        stream_name: Some("s".into()),
        limit: Some(10),
        exclusive_start_tag_key: Some("k09".into()),
        ..Default::default()
    };

    let page = client.call(list).await.unwrap();
    assert_eq!(
        (
            page.tags.len(),
            page.tags[0].key.as_str(),
            page.has_more_tags
        ),
        (10, "k10", true)
    );
}

#[tokio::test]
async fn streams_are_listed_page_by_page() {
    let (local, _) = local(|b| b);
    let client = Client::new(&local);
    for i in 0..5 {
        local.create_stream(&format!("s{i}"), 1).unwrap();
    }
    let mut request = ListStreamsRequest {
        limit: Some(2),
        ..Default::default()
    };
    let mut names = Vec::new();
    loop {
        let page = client.call(request).await.unwrap();
        assert_eq!(
            page.stream_summaries.unwrap().len(),
            page.stream_names.len()
        );
        names.extend(page.stream_names);
        assert_eq!(page.has_more_streams, page.next_token.is_some());
        let Some(next_token) = page.next_token else {
            break;
        };
        request = ListStreamsRequest {
            limit: Some(2),
            next_token: Some(next_token),
            ..Default::default()
        };
    }

    assert_eq!(names, ["s0", "s1", "s2", "s3", "s4"]);
    let after = ListStreamsRequest {
        exclusive_start_stream_name: Some("s2".into()),
        ..Default::default()
    };
    assert_eq!(client.call(after).await.unwrap().stream_names, ["s3", "s4"]);
}
