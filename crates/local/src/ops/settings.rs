//! The settings of streams and accounts.

use distributary_wire::error::ErrorCode;
use distributary_wire::limits;
use distributary_wire::types::*;

use super::Call;
use super::streams::Usage;
use crate::check::{Checks, Pattern};
use crate::errors::{Answer, in_use, invalid_argument, validation};
use crate::reshard::Change;
use crate::stream::State;

/// Milliseconds for which On-demand Advantage cannot be turned off again.
const COMMITMENT_MS: i64 = 24 * 3_600_000;
/// The largest warm throughput, in MiB a second: 10 GiB.
const WARM_MIBPS_MAX: i32 = 10 * 1024;

fn names(name: Option<&str>, arn: Option<&str>) -> Checks {
    let mut checks = Checks::default();
    checks.stream_name(name);
    checks.stream_arn(arn);
    checks
}

/// For operations that take only an ARN.
fn by_arn(arn: Option<&String>) -> Checks {
    let mut checks = Checks::default();
    checks.required("streamARN", arn);
    checks.stream_arn(arn.map(String::as_str));
    checks
}

pub(crate) fn increase_retention(
    call: &Call<'_>,
    request: &IncreaseStreamRetentionPeriodRequest,
) -> Answer<IncreaseStreamRetentionPeriodResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    retention(call, name, arn, request.retention_period_hours, true)?;
    Ok(IncreaseStreamRetentionPeriodResponse::default())
}

pub(crate) fn decrease_retention(
    call: &Call<'_>,
    request: &DecreaseStreamRetentionPeriodRequest,
) -> Answer<DecreaseStreamRetentionPeriodResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    retention(call, name, arn, request.retention_period_hours, false)?;
    Ok(DecreaseStreamRetentionPeriodResponse::default())
}

fn retention(
    call: &Call<'_>,
    name: Option<&str>,
    arn: Option<&str>,
    hours: Option<i32>,
    up: bool,
) -> Answer<()> {
    let mut checks = names(name, arn);
    checks.required("retentionPeriodHours", hours.as_ref());
    checks.done()?;
    let hours = hours.unwrap_or_default();
    let (least, most) = limits::RETENTION_HOURS.into_inner();
    if hours < least {
        return Err(invalid_argument(format!(
            "Minimum allowed retention period is {least} hours."
        )));
    }
    if hours > most {
        return Err(invalid_argument(format!(
            "Maximum allowed retention period is {most} hours."
        )));
    }
    let stream = call.stream(name, arn)?;
    call.change(&stream, |state| {
        let now = state.retention_hours;
        let wrong = if up { hours < now } else { hours > now };
        if wrong {
            let than = if up { "shorter" } else { "longer" };
            return Err(invalid_argument(format!(
                "Requested retention period ({hours} hours) for stream {} can not be {than} than existing retention \
                 period ({now} hours). Use {} API.",
                stream.name,
                if up { "DecreaseRetentionPeriod" } else { "IncreaseRetentionPeriod" },
            )));
        }
        state.begin(Change::Retention(hours), call.now_ms, call.update_ms());
        Ok(())
    })
}

pub(crate) fn max_record_size(
    call: &Call<'_>,
    request: &UpdateMaxRecordSizeRequest,
) -> Answer<UpdateMaxRecordSizeResponse> {
    let mut checks = by_arn(request.stream_arn.as_ref());
    checks.required(
        "maxRecordSizeInKiB",
        request.max_record_size_in_kib.as_ref(),
    );
    let (least, most) = limits::MAX_RECORD_SIZE_KIB.into_inner();
    checks.number(
        "maxRecordSizeInKiB",
        request.max_record_size_in_kib,
        least,
        most,
    );
    checks.done()?;
    let stream = call.stream(None, request.stream_arn.as_deref())?;
    call.change(&stream, |state| {
        let kib = request.max_record_size_in_kib.unwrap_or(least);
        state.begin(Change::RecordSize(kib), call.now_ms, call.update_ms());
        Ok(UpdateMaxRecordSizeResponse::default())
    })
}

pub(crate) fn mode(
    call: &Call<'_>,
    request: &UpdateStreamModeRequest,
) -> Answer<UpdateStreamModeResponse> {
    let wanted = request
        .stream_mode_details
        .as_ref()
        .and_then(|d| d.stream_mode.clone());
    let mut checks = by_arn(request.stream_arn.as_ref());
    checks.required("streamModeDetails.streamMode", wanted.as_ref());
    checks.known(
        "streamModeDetails.streamMode",
        wanted.as_ref().map(|m| m.as_str()),
        StreamMode::KNOWN,
    );
    checks.number(
        "warmThroughputMiBps",
        request.warm_throughput_mibps,
        0,
        WARM_MIBPS_MAX,
    );
    checks.done()?;
    let stream = call.stream(None, request.stream_arn.as_deref())?;
    let wanted = wanted.unwrap_or_default();
    let usage = Usage::of(call);
    call.change(&stream, |state| {
        if wanted == StreamMode::OnDemand && state.mode != wanted {
            let limit = call.inner.settings.on_demand_stream_limit;
            if usage.on_demand >= limit {
                return Err(crate::errors::limit_exceeded(format!(
                    "This request would exceed the on-demand stream limit for the account. Limit: {limit}."
                )));
            }
        }
        if wanted == StreamMode::Provisioned {
            if request.warm_throughput_mibps.is_some() {
                return Err(validation("WarmThroughputMiBps is only valid for the on-demand capacity mode."));
            }
            if state.distribution == RecordDistributionStrategy::Auto {
                return Err(invalid_argument(
                    "A stream with RecordDistributionStrategy AUTO must stay in the on-demand capacity mode.",
                ));
            }
        }
        if request.warm_throughput_mibps.is_some() {
            state.warm_mibps = request.warm_throughput_mibps;
        }
        state.begin(Change::Mode(wanted), call.now_ms, call.update_ms());
        Ok(UpdateStreamModeResponse::default())
    })
}

pub(crate) fn distribution(
    call: &Call<'_>,
    request: &UpdateStreamRecordDistributionStrategyRequest,
) -> Answer<UpdateStreamRecordDistributionStrategyResponse> {
    let wanted = request.record_distribution_strategy.clone();
    let mut checks = by_arn(request.stream_arn.as_ref());
    checks.required("recordDistributionStrategy", wanted.as_ref());
    let known = RecordDistributionStrategy::KNOWN;
    checks.known(
        "recordDistributionStrategy",
        wanted.as_ref().map(|d| d.as_str()),
        known,
    );
    checks.done()?;
    let stream = call.stream(None, request.stream_arn.as_deref())?;
    let wanted = wanted.unwrap_or_default();
    call.change(&stream, |state| {
        if state.mode != StreamMode::OnDemand && wanted == RecordDistributionStrategy::Auto {
            return Err(invalid_argument(
                "RecordDistributionStrategy AUTO is only supported for streams with the on-demand capacity mode.",
            ));
        }
        state.distribution = wanted;
        Ok(UpdateStreamRecordDistributionStrategyResponse::default())
    })
}

pub(crate) fn warm_throughput(
    call: &Call<'_>,
    request: &UpdateStreamWarmThroughputRequest,
) -> Answer<UpdateStreamWarmThroughputResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    let mut checks = names(name, arn);
    checks.required(
        "warmThroughputMiBps",
        request.warm_throughput_mibps.as_ref(),
    );
    checks.number(
        "warmThroughputMiBps",
        request.warm_throughput_mibps,
        0,
        WARM_MIBPS_MAX,
    );
    checks.done()?;
    let stream = call.stream(name, arn)?;
    let committed = call
        .inner
        .account(&stream.namespace, |account| account.is_committed());
    let target = request.warm_throughput_mibps.unwrap_or_default();
    let before = call.change(&stream, |state| {
        if state.mode != StreamMode::OnDemand {
            return Err(validation(
                "Warm throughput is only supported for streams in on-demand capacity mode.",
            ));
        }
        if !committed {
            return Err(validation(
                "Warm throughput needs MinimumThroughputBillingCommitment to be enabled for the account.",
            ));
        }
        let before = state.warm_mibps;
        state.begin(Change::Warm(target), call.now_ms, call.update_ms());
        Ok(before)
    })?;
    Ok(UpdateStreamWarmThroughputResponse {
        stream_arn: Some(stream.arn.to_string()),
        stream_name: Some(stream.name.clone()),
        warm_throughput: Some(WarmThroughputObject {
            target_mibps: Some(target),
            current_mibps: Some(before.unwrap_or(0)),
        }),
    })
}

pub(crate) fn start_encryption(
    call: &Call<'_>,
    request: &StartStreamEncryptionRequest,
) -> Answer<StartStreamEncryptionResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    check_encryption(
        name,
        arn,
        request.encryption_type.as_ref(),
        request.key_id.as_ref(),
    )?;
    if request.encryption_type == Some(EncryptionType::None) {
        return Err(invalid_argument("EncryptionType must be KMS."));
    }
    let stream = call.stream(name, arn)?;
    call.change(&stream, |state| {
        state.begin(
            Change::Encrypt(request.key_id.clone()),
            call.now_ms,
            call.update_ms(),
        );
        Ok(StartStreamEncryptionResponse::default())
    })
}

pub(crate) fn stop_encryption(
    call: &Call<'_>,
    request: &StopStreamEncryptionRequest,
) -> Answer<StopStreamEncryptionResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    check_encryption(
        name,
        arn,
        request.encryption_type.as_ref(),
        request.key_id.as_ref(),
    )?;
    let stream = call.stream(name, arn)?;
    call.change(&stream, |state| {
        if state.key_id.is_none() {
            return Err(in_use(format!(
                "Stream {} under account {} is not encrypted.",
                stream.name, stream.namespace.account
            )));
        }
        state.begin(Change::Encrypt(None), call.now_ms, call.update_ms());
        Ok(StopStreamEncryptionResponse::default())
    })
}

fn check_encryption(
    name: Option<&str>,
    arn: Option<&str>,
    kind: Option<&EncryptionType>,
    key: Option<&String>,
) -> Answer<()> {
    let mut checks = names(name, arn);
    checks.required("encryptionType", kind);
    checks.known(
        "encryptionType",
        kind.map(|k| k.as_str()),
        EncryptionType::KNOWN,
    );
    checks.required("keyId", key);
    checks.text("keyId", key.map(String::as_str), 1, 2048, Pattern::Any);
    checks.done()
}

/// Every single metric.
fn all_metrics() -> impl Iterator<Item = MetricsName> {
    MetricsName::KNOWN
        .iter()
        .map(|name| MetricsName::from(*name))
        .filter(|m| *m != MetricsName::All)
}

/// The metrics before, after, and the stream's name and ARN.
type Monitoring = (Vec<MetricsName>, Vec<MetricsName>, String, String);

fn monitoring(
    call: &Call<'_>,
    (name, arn): (Option<&str>, Option<&str>),
    metrics: Option<&Vec<MetricsName>>,
    change: impl Fn(&mut State, MetricsName),
) -> Answer<Monitoring> {
    let mut checks = names(name, arn);
    checks.required("shardLevelMetrics", metrics);
    checks.count("shardLevelMetrics", "[]", metrics.map(Vec::len), 1, 7);
    for metric in metrics.into_iter().flatten() {
        checks.known(
            "shardLevelMetrics",
            Some(metric.as_str()),
            MetricsName::KNOWN,
        );
    }
    checks.done()?;
    let stream = call.stream(name, arn)?;
    call.change(&stream, |state| {
        let before = state.metrics.iter().cloned().collect();
        for metric in metrics.into_iter().flatten() {
            match metric {
                MetricsName::All => all_metrics().for_each(|m| change(state, m)),
                one => change(state, one.clone()),
            }
        }
        let after = state.metrics.iter().cloned().collect();
        Ok((before, after, stream.name.clone(), stream.arn.to_string()))
    })
}

pub(crate) fn enable_monitoring(
    call: &Call<'_>,
    request: &EnableEnhancedMonitoringRequest,
) -> Answer<EnableEnhancedMonitoringResponse> {
    let stream = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    let (before, after, name, arn) = monitoring(
        call,
        stream,
        request.shard_level_metrics.as_ref(),
        |state, metric| {
            state.metrics.insert(metric);
        },
    )?;
    Ok(EnableEnhancedMonitoringResponse {
        stream_name: Some(name),
        current_shard_level_metrics: Some(before),
        desired_shard_level_metrics: Some(after),
        stream_arn: Some(arn),
    })
}

pub(crate) fn disable_monitoring(
    call: &Call<'_>,
    request: &DisableEnhancedMonitoringRequest,
) -> Answer<DisableEnhancedMonitoringResponse> {
    let stream = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    let (before, after, name, arn) = monitoring(
        call,
        stream,
        request.shard_level_metrics.as_ref(),
        |state, metric| {
            state.metrics.remove(&metric);
        },
    )?;
    Ok(DisableEnhancedMonitoringResponse {
        stream_name: Some(name),
        current_shard_level_metrics: Some(before),
        desired_shard_level_metrics: Some(after),
        stream_arn: Some(arn),
    })
}

pub(crate) fn describe_limits(
    call: &Call<'_>,
    _request: &DescribeLimitsRequest,
) -> Answer<DescribeLimitsResponse> {
    call.admit(&call.namespace, "")?;
    let usage = Usage::of(call);
    let settings = &call.inner.settings;
    Ok(DescribeLimitsResponse {
        shard_limit: settings.shard_limit.cast_signed(),
        open_shard_count: usage.provisioned_shards.cast_signed(),
        on_demand_stream_count: usage.on_demand.cast_signed(),
        on_demand_stream_count_limit: settings.on_demand_stream_limit.cast_signed(),
        channel_count: None,
        channel_count_limit: None,
    })
}

/// The commitment of an account that never had one.
fn no_commitment() -> MinimumThroughputBillingCommitmentOutput {
    MinimumThroughputBillingCommitmentOutput {
        status: MinimumThroughputBillingCommitmentOutputStatus::Disabled,
        ..Default::default()
    }
}

pub(crate) fn describe_account(
    call: &Call<'_>,
    _request: &DescribeAccountSettingsRequest,
) -> Answer<DescribeAccountSettingsResponse> {
    call.admit(&call.namespace, "")?;
    let commitment = call
        .inner
        .account(&call.namespace, |account| account.commitment.clone());
    Ok(DescribeAccountSettingsResponse {
        minimum_throughput_billing_commitment: Some(commitment.unwrap_or_else(no_commitment)),
    })
}

pub(crate) fn update_account(
    call: &Call<'_>,
    request: &UpdateAccountSettingsRequest,
) -> Answer<UpdateAccountSettingsResponse> {
    use MinimumThroughputBillingCommitmentInputStatus as Wanted;
    use MinimumThroughputBillingCommitmentOutputStatus as Status;
    let wanted = request
        .minimum_throughput_billing_commitment
        .as_ref()
        .map(|c| c.status.clone());
    let mut checks = Checks::default();
    checks.required("minimumThroughputBillingCommitment", wanted.as_ref());
    let member = "minimumThroughputBillingCommitment.status";
    checks.known(member, wanted.as_ref().map(|s| s.as_str()), Wanted::KNOWN);
    checks.done()?;
    call.admit(&call.namespace, "")?;
    let now = Timestamp(call.now_ms.cast_signed());
    let commitment = call.inner.account(&call.namespace, |account| {
        let mut commitment = account.commitment.clone().unwrap_or_else(no_commitment);
        let enabled = commitment.status != Status::Disabled;
        match wanted {
            Some(Wanted::Enabled) if !enabled => {
                commitment = MinimumThroughputBillingCommitmentOutput {
                    status: Status::Enabled,
                    started_at: Some(now),
                    ended_at: None,
                    earliest_allowed_end_at: Some(Timestamp(now.0 + COMMITMENT_MS)),
                };
            }
            Some(Wanted::Disabled) if enabled => {
                if commitment.earliest_allowed_end_at.is_some_and(|end| end > now) {
                    return Err(distributary_wire::error::ApiError::new(
                        ErrorCode::InvalidArgument,
                        "The minimum throughput billing commitment cannot be disabled before its earliest allowed end.",
                    ));
                }
                commitment.status = Status::Disabled;
                commitment.ended_at = Some(now);
            }
            Some(_) | None => {}
        }
        account.commitment = Some(commitment.clone());
        Ok(commitment)
    })?;
    if let Some(store) = &call.inner.store {
        store.push(crate::store::Change::commitment(
            &call.namespace,
            &commitment,
        ));
    }
    Ok(UpdateAccountSettingsResponse {
        minimum_throughput_billing_commitment: Some(commitment),
    })
}
