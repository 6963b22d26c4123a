//! Consumers and their subscriptions.

use std::task::Poll;
use std::time::Duration;

use distributary_local::{Delays, Local};
use distributary_wire::eventstream::SubscribeEvent;
use distributary_wire::hot::GetRecordsAnswer;
use distributary_wire::transport::TransportError;
use distributary_wire::types::*;

use crate::client::{Client, Events, Failure, arn, entry, local, shard_id, texts};

const SECOND: Duration = Duration::from_secs(1);

fn from(
    consumer: &str,
    kind: ShardIteratorType,
    sequence: Option<String>,
) -> SubscribeToShardRequest {
    SubscribeToShardRequest {
        consumer_arn: Some(consumer.into()),
        shard_id: Some(shard_id(0)),
        starting_position: Some(StartingPosition {
            kind: Some(kind),
            sequence_number: sequence,
            timestamp: None,
        }),
        ..Default::default()
    }
}

async fn subscribe(client: &Client, consumer: &str) -> Result<Events, Failure> {
    client
        .subscribe(from(consumer, ShardIteratorType::TrimHorizon, None))
        .await
}

async fn one_shard(local: &Local) -> (Client, String) {
    local.create_stream("s", 1).unwrap();
    let client = Client::new(local);
    let consumer = client.consumer(&arn("s"), "c").await;
    (client, consumer)
}

#[tokio::test]
async fn records_are_pushed_on_arrival_and_heartbeats_every_five_seconds() {
    let (local, clock) = local(|b| b);
    let (client, consumer) = one_shard(&local).await;
    client.put("s", &["a", "b"]).await;
    for client in [client.clone(), client.clone().json()] {
        let mut events = subscribe(&client, &consumer).await.unwrap();
        let first = events.event().await;
        assert_eq!(texts(&first)[..2], ["a", "b"]);
        assert_eq!(first.millis_behind_latest, Some(0));
        assert!(events.is_silent().await);
        client.put("s", &["c"]).await;
        let second = events.event().await;
        assert_eq!(texts(&second), ["c"]);
        clock.advance(4 * SECOND);
        assert!(events.is_silent().await);
        clock.advance(SECOND);
        let beat = events.event().await;
        assert!(beat.records.is_empty());
        assert_eq!(
            beat.continuation_sequence_number,
            second.continuation_sequence_number
        );
        assert!(events.is_silent().await);
        // Reading continues after the continuation sequence number.
        drop(events);
        client.put("s", &["d"]).await;
        clock.advance(5 * SECOND);
        let after = beat.continuation_sequence_number;
        let request = from(&consumer, ShardIteratorType::AfterSequenceNumber, after);
        let mut events = client.subscribe(request).await.unwrap();
        assert_eq!(texts(&events.event().await), ["d"]);
        clock.advance(5 * SECOND);
    }
}

#[tokio::test]
async fn an_idle_subscription_has_a_continuation_before_the_first_record() {
    let (local, clock) = local(|b| b);
    let (client, consumer) = one_shard(&local).await;
    let mut events = subscribe(&client, &consumer).await.unwrap();
    let beat = events.event().await;
    client.put("s", &["a"]).await;
    clock.advance(5 * SECOND);
    let request = from(
        &consumer,
        ShardIteratorType::AfterSequenceNumber,
        beat.continuation_sequence_number,
    );

    let mut again = client.subscribe(request).await.unwrap();
    assert_eq!(texts(&again.event().await), ["a"]);
}

#[tokio::test]
async fn a_subscription_before_a_gap_of_the_byte_budget_ends_and_its_position_is_refused() {
    let (local, clock) = local(|b| b.retention_bytes(4 << 20));
    let (client, consumer) = one_shard(&local).await;
    let mut events = subscribe(&client, &consumer).await.unwrap();
    client.put("s", &["a"]).await;
    let first = events.event().await;
    assert_eq!(texts(&first), ["a"]);
    for _ in 0..9 {
        let request = PutRecordsRequest {
            stream_name: Some("s".into()),
            records: Some(vec![entry("k", &vec![7; 1_000_000])]),
            ..Default::default()
        };

        client.call(request).await.unwrap();
    }

    assert!(events.next().await.is_none());
    clock.advance(5 * SECOND);
    let request = from(
        &consumer,
        ShardIteratorType::AfterSequenceNumber,
        first.continuation_sequence_number,
    );

    let refused = client.subscribe(request).await.err().unwrap();
    assert_eq!(refused.code(), "InvalidArgumentException");
}

#[tokio::test]
async fn a_subscription_ends_after_five_minutes() {
    let (local, clock) = local(|b| b);
    let (client, consumer) = one_shard(&local).await;
    let mut events = subscribe(&client, &consumer).await.unwrap();
    events.event().await;
    for _ in 0..59 {
        clock.advance(5 * SECOND);
        events.event().await;
    }
    clock.advance(5 * SECOND);
    assert!(events.next().await.is_none());
    subscribe(&client, &consumer).await.unwrap();
}

#[tokio::test]
async fn a_second_subscription_is_refused_within_five_seconds_and_takes_over_later() {
    let (local, clock) = local(|b| b);
    let (client, consumer) = one_shard(&local).await;
    let mut first = subscribe(&client, &consumer).await.unwrap();
    first.event().await;
    clock.advance(5 * SECOND - Duration::from_millis(1));
    let refused = subscribe(&client, &consumer).await.err().unwrap();
    assert_eq!(refused.code(), "ResourceInUseException");
    clock.advance(Duration::from_millis(1));
    let mut second = subscribe(&client, &consumer).await.unwrap();
    second.event().await;
    match first.next().await {
        Some(Ok(SubscribeEvent::Exception(error))) => {
            assert_eq!(error.code.as_str(), "ResourceInUseException");
        }
        other => panic!("{other:?}"),
    }

    assert!(first.next().await.is_none());
    // A refused subscription has no effect, and another consumer may subscribe at once.
    assert!(second.is_silent().await);
    let other = client.consumer(&arn("s"), "d").await;
    subscribe(&client, &other).await.unwrap();
}

#[tokio::test]
async fn a_closed_shard_is_pushed_to_its_end_with_its_children() {
    let (local, _) = local(|b| b);
    let (client, consumer) = one_shard(&local).await;
    let mut events = subscribe(&client, &consumer).await.unwrap();
    events.event().await;
    client.put("s", &["a"]).await;
    let split = SplitShardRequest {
        stream_name: Some("s".into()),
        shard_to_split: Some(shard_id(0)),
        new_starting_hash_key: Some((1_u128 << 127).to_string()),
        ..Default::default()
    };

    client.call(split).await.unwrap();
    let last = events.event().await;
    assert_eq!(texts(&last), ["a"]);
    assert_eq!(last.continuation_sequence_number, None);
    let children: Vec<_> = last
        .child_shards
        .iter()
        .map(|c| c.shard_id.clone())
        .collect();
    assert_eq!(children, [shard_id(1), shard_id(2)]);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_delayed_split_reaches_a_waiting_subscriber() {
    let (local, clock) = local(|b| {
        b.delays(Delays {
            update: SECOND,
            ..Delays::NONE
        })
    });

    let (client, consumer) = one_shard(&local).await;
    let mut events = subscribe(&client, &consumer).await.unwrap();
    events.event().await;
    let split = SplitShardRequest {
        stream_name: Some("s".into()),
        shard_to_split: Some(shard_id(0)),
        new_starting_hash_key: Some((1_u128 << 127).to_string()),
        ..Default::default()
    };

    assert!(events.is_silent().await);
    client.call(split).await.unwrap();
    assert!(events.is_silent().await);
    clock.advance(SECOND);
    let last = events.event().await;
    assert_eq!(
        (last.child_shards.len(), last.continuation_sequence_number),
        (2, None)
    );
}

#[tokio::test]
async fn consumers_have_states_limits_and_pages() {
    let (local, clock) = local(|b| {
        b.delays(Delays {
            consumer: SECOND,
            ..Delays::NONE
        })
    });

    let (client, consumer) = one_shard(&local).await;
    let register = |name: String| RegisterStreamConsumerRequest {
        stream_arn: Some(arn("s")),
        consumer_name: Some(name),
        ..Default::default()
    };

    assert_eq!(
        subscribe(&client, &consumer).await.err().unwrap().code(),
        "ResourceInUseException"
    );
    assert_eq!(
        client.call(register("c".into())).await.unwrap_err().code(),
        "ResourceInUseException"
    );
    for i in 1..5 {
        client.call(register(format!("c{i:02}"))).await.unwrap();
    }
    // At most five consumers are CREATING.
    assert_eq!(
        client.call(register("x".into())).await.unwrap_err().code(),
        "LimitExceededException"
    );
    for i in 5..20 {
        clock.advance(SECOND);
        client.call(register(format!("c{i:02}"))).await.unwrap();
    }
    clock.advance(SECOND);
    assert_eq!(
        client.call(register("x".into())).await.unwrap_err().code(),
        "LimitExceededException"
    );
    let mut request = ListStreamConsumersRequest {
        stream_arn: Some(arn("s")),
        max_results: Some(9),
        ..Default::default()
    };

    let mut names = Vec::new();
    loop {
        let page = client.call(request.clone()).await.unwrap();
        names.extend(page.consumers.unwrap().into_iter().map(|c| c.consumer_name));
        request.next_token = page.next_token;
        if request.next_token.is_none() {
            break;
        }
    }

    assert_eq!((names.len(), names.is_sorted()), (20, true));
    let mut events = subscribe(&client, &consumer).await.unwrap();
    events.event().await;
    let deregister = DeregisterStreamConsumerRequest {
        consumer_arn: Some(consumer.clone()),
        ..Default::default()
    };
    client.call(deregister).await.unwrap();
    match events.next().await {
        Some(Ok(SubscribeEvent::Exception(error))) => {
            assert_eq!(error.code.as_str(), "ResourceNotFoundException");
        }
        other => panic!("{other:?}"),
    }

    let describe = || DescribeStreamConsumerRequest {
        consumer_arn: Some(consumer.clone()),
        ..Default::default()
    };
    let shown = client.call(describe()).await.unwrap().consumer_description;
    assert_eq!(shown.consumer_status, ConsumerStatus::Deleting);
    clock.advance(SECOND);
    assert_eq!(
        client.call(describe()).await.unwrap_err().code(),
        "ResourceNotFoundException"
    );
    let by_name = DescribeStreamConsumerRequest {
        stream_arn: Some(arn("s")),
        consumer_name: Some("c01".into()),
        ..Default::default()
    };

    let shown = client.call(by_name).await.unwrap().consumer_description;
    assert_eq!(
        (shown.consumer_status, shown.stream_arn),
        (ConsumerStatus::Active, arn("s"))
    );
    let delete = DeleteStreamRequest {
        stream_name: Some("s".into()),
        ..Default::default()
    };
    assert_eq!(
        client.call(delete.clone()).await.unwrap_err().code(),
        "ResourceInUseException"
    );
    let enforced = DeleteStreamRequest {
        enforce_consumer_deletion: Some(true),
        ..delete
    };
    client.call(enforced).await.unwrap();
}

#[tokio::test]
async fn the_end_of_a_stream_ends_its_subscriptions() {
    let (local, _) = local(|b| b);
    let (client, consumer) = one_shard(&local).await;
    let mut events = subscribe(&client, &consumer).await.unwrap();
    events.event().await;
    assert!(events.is_silent().await);
    let delete = DeleteStreamRequest {
        stream_name: Some("s".into()),
        enforce_consumer_deletion: Some(true),
        ..Default::default()
    };

    client.call(delete).await.unwrap();
    match events.next().await {
        Some(Ok(SubscribeEvent::Exception(error))) => {
            assert_eq!(error.code.as_str(), "ResourceNotFoundException");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn enforced_limits_give_a_consumer_two_mebibytes_a_second() {
    let (local, clock) = local(|b| b.enforce_limits(true));
    let (client, consumer) = one_shard(&local).await;
    for _ in 0..6 {
        let put = PutRecordRequest {
            stream_name: Some("s".into()),
            data: Some(vec![0_u8; 1_000_000].into()),
            partition_key: Some("k".into()),
            ..Default::default()
        };

        client.call(put).await.unwrap();
        clock.advance(SECOND);
    }

    let mut events = subscribe(&client, &consumer).await.unwrap();
    let mut quarters = 0;
    let mut records = 0;
    while records < 6 {
        match events.poll_now().await {
            Poll::Ready(Some(Ok(SubscribeEvent::Event { format, payload }))) => {
                records += GetRecordsAnswer::parse(format, payload)
                    .unwrap()
                    .records
                    .len();
            }
            Poll::Ready(other) => panic!("{other:?}"),
            Poll::Pending => {
                clock.advance(SECOND / 4);
                quarters += 1;
            }
        }
    }

    // Of six megabytes, two are pushed at once.
    assert!((4..=12).contains(&quarters), "{quarters}");
}

#[tokio::test]
async fn subscriptions_fail_on_command() {
    use distributary_local::faults::{Action, Rule, Select};
    use distributary_wire::op::Operation::SubscribeToShard;
    let (local, clock) = local(|b| b);
    let (client, consumer) = one_shard(&local).await;
    let faults = local.faults();
    let all = Select {
        stream: Some("s".into()),
        shard: Some(shard_id(0)),
        ..Select::default()
    };

    let open = async || {
        clock.advance(5 * SECOND);
        let mut events = subscribe(&client, &consumer).await.unwrap();
        events.event().await;
        events
    };

    let mut ended = open().await;
    assert_eq!(faults.end_subscriptions(&all, None), 1);
    assert!(ended.next().await.is_none());
    drop(ended);
    let mut cut = open().await;
    assert_eq!(faults.break_subscriptions(&all), 1);
    assert!(matches!(
        cut.next().await,
        Some(Err(TransportError::Broken { .. }))
    ));
    drop(cut);
    let mut muted = open().await;
    assert_eq!(faults.mute_subscriptions(&all, true), 1);
    client.put("s", &["a"]).await;
    clock.advance(20 * SECOND);
    assert!(muted.is_silent().await);
    faults.mute_subscriptions(&all, false);
    assert_eq!(texts(&muted.event().await), ["a"]);
    drop(muted);
    let nobody = Select {
        consumer: Some("x".into()),
        ..Select::default()
    };
    assert_eq!(faults.end_subscriptions(&nobody, None), 0);
    let code = Some("InternalFailureException".to_owned());
    faults
        .add(Rule::always(
            SubscribeToShard,
            Action::EndSubscription {
                after_events: 1,
                code,
            },
        ))
        .unwrap();
    let mut planned = open().await;
    assert!(matches!(
        planned.next().await,
        Some(Ok(SubscribeEvent::Exception(_)))
    ));
    assert!(planned.next().await.is_none());
}
