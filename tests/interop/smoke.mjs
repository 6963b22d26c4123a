// One check for every operation by the AWS SDK for JavaScript v3: the same checks as boto3_smoke.py (see there for the reasons).
// node smoke.mjs ENDPOINT → one JSON object {operation: null | why not}. The SDK speaks HTTP/2: h2c to http://, TLS to https://
// (the certificate's authority in NODE_EXTRA_CA_CERTS).
import { randomBytes, randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'

// The packages are not beside this file but where `run` installed them.
const require = createRequire(`${process.env.INTEROP_NODE}/`)
const { Kinesis } = require('@aws-sdk/client-kinesis')

const MAX_HASH = (2n ** 128n - 1n).toString()
const BINARY = [Buffer.from([0, 255, 254, 32, 98]), Buffer.alloc(0), Buffer.from('Ünïcode 鍵')]
const WAIT_MS = 20_000
const k = new Kinesis({
  endpoint: process.argv[2],
  region: 'us-east-1',
  credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' },
  maxAttempts: 1,
})

const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b)
const bytes = (list) => list.map((d) => Buffer.from(d).toString('hex'))

function expect(condition, what) {
  if (!condition) throw new Error(what)
}

async function waitFor(what, condition) {
  for (const end = Date.now() + WAIT_MS; Date.now() < end; await sleep(50)) if (await condition()) return
  throw new Error(`waited ${WAIT_MS} ms for: ${what}`)
}

async function refused(call, ...kinds) {
  try {
    await call()
  } catch (e) {
    expect(kinds.includes(e.name), `refused with ${e.name}, not ${kinds.join(' or ')}`)
    return
  }
  throw new Error(`not refused (${kinds.join(' or ')})`)
}

const summary = async (by) => (await k.describeStreamSummary(by)).StreamDescriptionSummary
const active = (name) => waitFor(`${name} ACTIVE`, async () => (await summary({ StreamName: name })).StreamStatus === 'ACTIVE')

async function stream(shards = 1) {
  const name = `smoke-${randomUUID().slice(0, 13)}`
  await k.createStream({ StreamName: name, ShardCount: shards })
  await active(name)
  return { name, arn: (await summary({ StreamName: name })).StreamARN }
}

const shardId = (i) => `shardId-${String(i).padStart(12, '0')}`
const iterator = async (name, shard = shardId(0), type = 'TRIM_HORIZON', more = {}) =>
  (await k.getShardIterator({ StreamName: name, ShardId: shard, ShardIteratorType: type, ...more })).ShardIterator

async function read(token, wanted, tries = 40) {
  const records = []
  let answer
  for (let i = 0; i < tries && token && records.length < wanted; i++) {
    if (i > 0) await sleep(50)
    answer = await k.getRecords({ ShardIterator: token })
    records.push(...answer.Records)
    token = answer.NextShardIterator
  }
  return { records, answer }
}

async function drained(name, shard) {
  let token = await iterator(name, shard)
  for (let i = 0; i < 40; i++) {
    const answer = await k.getRecords({ ShardIterator: token })
    token = answer.NextShardIterator
    if (!token) return answer
    await sleep(50)
  }
  throw new Error("a closed shard's iterator never ends")
}

const openShards = async (name) =>
  (await k.listShards({ StreamName: name })).Shards.filter((s) => !s.SequenceNumberRange.EndingSequenceNumber)

async function consumer(arn) {
  const { ConsumerARN } = (await k.registerStreamConsumer({ StreamARN: arn, ConsumerName: 'smoke' })).Consumer
  await waitFor('consumer ACTIVE', async () =>
    (await k.describeStreamConsumer({ ConsumerARN })).ConsumerDescription.ConsumerStatus === 'ACTIVE')
  return ConsumerARN
}

const policy = (arn) => JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow',
  Principal: { AWS: 'arn:aws:iam::111122223333:root' }, Action: 'kinesis:GetRecords', Resource: arn }] })
const tags = async (arn) => (await k.listTagsForResource({ ResourceARN: arn })).Tags.map((t) => `${t.Key}=${t.Value}`)
const streamTags = async (name) => (await k.listTagsForStream({ StreamName: name })).Tags.map((t) => `${t.Key}=${t.Value}`)

const checks = {
  async CreateStream() {
    const { name, arn } = await stream(2)
    expect(arn.endsWith(`:stream/${name}`), `ARN ${arn}`)
    await refused(() => k.createStream({ StreamName: name, ShardCount: 2 }), 'ResourceInUseException')
    await k.createStream({ StreamName: `${name}-od`, StreamModeDetails: { StreamMode: 'ON_DEMAND' } })
    await active(`${name}-od`)
    expect((await summary({ StreamName: `${name}-od` })).StreamModeDetails.StreamMode === 'ON_DEMAND', 'not ON_DEMAND')
  },
  async DeleteStream() {
    const { name, arn } = await stream()
    await k.deleteStream({ StreamARN: arn })
    await waitFor('gone', async () => !(await k.listStreams({ Limit: 1000 })).StreamNames.includes(name))
    await refused(() => summary({ StreamName: name }), 'ResourceNotFoundException')
  },
  async DescribeStream() {
    const { name, arn } = await stream(2)
    for (const by of [{ StreamName: name }, { StreamARN: arn }, { StreamName: name, StreamARN: arn }]) {
      const ranges = (await k.describeStream(by)).StreamDescription.Shards.map((s) => s.HashKeyRange)
      expect(ranges.length === 2 && ranges[0].StartingHashKey === '0' && ranges[1].EndingHashKey === MAX_HASH, 'hash ranges')
      expect(BigInt(ranges[0].EndingHashKey) + 1n === BigInt(ranges[1].StartingHashKey), 'a hole between the ranges')
    }
    const page = (await k.describeStream({ StreamName: name, Limit: 1 })).StreamDescription
    expect(page.HasMoreShards && page.Shards.length === 1, 'Limit=1 is not one shard with more to come')
    await refused(() => k.describeStream({ StreamName: 'smoke-none' }), 'ResourceNotFoundException')
  },
  async DescribeStreamSummary() {
    const { name, arn } = await stream(2)
    for (const by of [{ StreamName: name }, { StreamARN: arn }, { StreamName: name, StreamARN: arn }]) {
      const s = await summary(by)
      expect(same([s.StreamName, s.OpenShardCount, s.RetentionPeriodHours], [name, 2, 24]), `answers ${JSON.stringify(s)}`)
    }
  },
  async ListStreams() {
    const names = [(await stream()).name, (await stream()).name]
    const seen = []
    let start = {}
    for (let i = 0; i < 2000; i++) {
      const page = await k.listStreams({ Limit: 1, ...start })
      seen.push(...page.StreamNames)
      expect((page.StreamSummaries ?? []).length === page.StreamNames.length, 'no summary for each name')
      if (!page.HasMoreStreams) break
      start = page.NextToken ? { NextToken: page.NextToken } : { ExclusiveStartStreamName: seen.at(-1) }
    }
    const sorted = same(seen, [...new Set(seen)].sort((a, b) => (a < b ? -1 : 1)))
    expect(names.every((n) => seen.includes(n)) && sorted, 'paging misses, repeats or mixes names')
  },
  async ListShards() {
    const { name, arn } = await stream(3)
    const first = await k.listShards({ StreamARN: arn, MaxResults: 2 })
    expect(first.Shards.length === 2 && first.NextToken, 'MaxResults=2 is not two shards and a token')
    const rest = await k.listShards({ NextToken: first.NextToken })
    expect(same([...first.Shards, ...rest.Shards].map((s) => s.ShardId), [0, 1, 2].map(shardId)), 'paging')
    const after = await k.listShards({ StreamName: name, ShardFilter: { Type: 'AFTER_SHARD_ID', ShardId: shardId(1) } })
    expect(same(after.Shards.map((s) => s.ShardId), [shardId(2)]), 'AFTER_SHARD_ID')
    await k.splitShard({ StreamName: name, ShardToSplit: shardId(0), NewStartingHashKey: '1000' })
    await active(name)
    const latest = await k.listShards({ StreamName: name, ShardFilter: { Type: 'AT_LATEST' } })
    expect(same(latest.Shards.map((s) => s.ShardId).sort(), [1, 2, 3, 4].map(shardId)), 'AT_LATEST')
    const horizon = await k.listShards({ StreamName: name, ShardFilter: { Type: 'FROM_TRIM_HORIZON' } })
    expect(horizon.Shards.length === 5, `FROM_TRIM_HORIZON shows ${horizon.Shards.length} of 5`)
  },
  async PutRecord() {
    const { name, arn } = await stream(2)
    const one = await k.putRecord({ StreamName: name, PartitionKey: 'key', Data: BINARY[0] })
    const two = await k.putRecord({ StreamARN: arn, PartitionKey: 'key', Data: BINARY[0] })
    expect(one.ShardId === two.ShardId && BigInt(one.SequenceNumber) < BigInt(two.SequenceNumber), 'not in sequence')
    const at = async (hash) =>
      (await k.putRecord({ StreamName: name, PartitionKey: 'key', Data: Buffer.from('x'), ExplicitHashKey: hash })).ShardId
    expect((await at(MAX_HASH)) === shardId(1) && (await at('0')) === shardId(0), 'explicit hash keys')
    await refused(() => k.putRecord({ StreamName: 'smoke-none', PartitionKey: 'k', Data: BINARY[1] }), 'ResourceNotFoundException')
  },
  async PutRecords() {
    const { name, arn } = await stream()
    const Records = BINARY.map((Data) => ({ PartitionKey: 'ключ-鍵-🔑', Data }))
    for (const by of [{ StreamName: name }, { StreamARN: arn }]) {
      const answer = await k.putRecords({ Records, ...by })
      expect(answer.FailedRecordCount === 0 && answer.Records.length === 3, 'not all taken')
    }
    const { records } = await read(await iterator(name), 6)
    expect(same(bytes(records.map((r) => r.Data)), bytes([...BINARY, ...BINARY])), 'the data came back different')
    expect(records.every((r) => r.PartitionKey === 'ключ-鍵-🔑'), 'the partition key came back different')
    const big = Array.from({ length: 9 }, () => ({ PartitionKey: 'k', Data: randomBytes(1_000_000) }))
    expect((await k.putRecords({ StreamName: name, Records: big })).FailedRecordCount === 0, '9 MB in one request')
    const many = Array.from({ length: 501 }, () => ({ PartitionKey: 'k', Data: Buffer.from('x') }))
    await refused(() => k.putRecords({ StreamName: name, Records: many }), 'InvalidArgumentException', 'ValidationException')
  },
  async GetShardIterator() {
    const { name, arn } = await stream()
    const before = new Date(Date.now() - 10_000)
    const numbers = []
    for (const i of [0, 1, 2])
      numbers.push((await k.putRecord({ StreamName: name, PartitionKey: 'k', Data: Buffer.from(String(i)) })).SequenceNumber)
    const cases = [['TRIM_HORIZON', {}, '012'], ['AT_SEQUENCE_NUMBER', { StartingSequenceNumber: numbers[1] }, '12'],
      ['AFTER_SEQUENCE_NUMBER', { StartingSequenceNumber: numbers[1] }, '2'], ['AT_TIMESTAMP', { Timestamp: before }, '012'],
      ['LATEST', {}, '']]
    for (const [type, more, wanted] of cases) {
      const { ShardIterator } = await k.getShardIterator({ StreamARN: arn, ShardId: shardId(0), ShardIteratorType: type, ...more })
      const got = (await read(ShardIterator, wanted.length || 1, 3)).records.map((r) => Buffer.from(r.Data).toString()).join('')
      expect(got === wanted, `${type} gives ${got}`)
    }
    await refused(() => iterator(name, shardId(99)), 'ResourceNotFoundException')
  },
  async GetRecords() {
    const { name, arn } = await stream()
    await k.putRecords({ StreamName: name,
      Records: Array.from({ length: 10 }, (_, i) => ({ PartitionKey: 'k', Data: Buffer.from(String(i)) })) })
    const one = await k.getRecords({ ShardIterator: await iterator(name), Limit: 4, StreamARN: arn })
    expect(one.Records.length === 4 && one.NextShardIterator, 'Limit=4')
    const { records, answer } = await read(one.NextShardIterator, 6)
    expect(records.map((r) => Buffer.from(r.Data).toString()).join('') === '456789', "the next page doesn't go on")
    expect(answer.MillisBehindLatest === 0, `${answer.MillisBehindLatest} ms behind at the tip`)
    expect(Math.abs(records[0].ApproximateArrivalTimestamp - Date.now()) < 60_000, 'arrival time')
    await refused(() => k.getRecords({ ShardIterator: 'not-an-iterator' }), 'InvalidArgumentException', 'ExpiredIteratorException')
  },
  async RegisterStreamConsumer() {
    const { arn } = await stream()
    const made = (await k.registerStreamConsumer({ StreamARN: arn, ConsumerName: 'smoke' })).Consumer
    expect(made.ConsumerARN.startsWith(`${arn}/consumer/smoke:`), `ARN ${made.ConsumerARN}`)
    await refused(() => k.registerStreamConsumer({ StreamARN: arn, ConsumerName: 'smoke' }), 'ResourceInUseException')
  },
  async DescribeStreamConsumer() {
    const { arn } = await stream()
    const ConsumerARN = await consumer(arn)
    for (const by of [{ ConsumerARN }, { StreamARN: arn, ConsumerName: 'smoke' }]) {
      const d = (await k.describeStreamConsumer(by)).ConsumerDescription
      expect(d.ConsumerARN === ConsumerARN && d.StreamARN === arn, 'another consumer')
    }
  },
  async ListStreamConsumers() {
    const { arn } = await stream()
    await k.registerStreamConsumer({ StreamARN: arn, ConsumerName: 'one' })
    await k.registerStreamConsumer({ StreamARN: arn, ConsumerName: 'two' })
    const page = await k.listStreamConsumers({ StreamARN: arn, MaxResults: 1 })
    const rest = page.NextToken ? await k.listStreamConsumers({ StreamARN: arn, NextToken: page.NextToken }) : { Consumers: [] }
    const names = [...page.Consumers, ...rest.Consumers].map((c) => c.ConsumerName).sort()
    expect(page.Consumers.length === 1 && same(names, ['one', 'two']), `pages show ${names}`)
  },
  async DeregisterStreamConsumer() {
    const { arn } = await stream()
    await k.deregisterStreamConsumer({ ConsumerARN: await consumer(arn) })
    await waitFor('gone', async () => (await k.listStreamConsumers({ StreamARN: arn })).Consumers.length === 0)
  },
  async SubscribeToShard() {
    const { name, arn } = await stream()
    await k.putRecord({ StreamName: name, PartitionKey: 'k', Data: BINARY[0] })
    const { EventStream } = await k.subscribeToShard({ ConsumerARN: await consumer(arn), ShardId: shardId(0),
      StartingPosition: { Type: 'TRIM_HORIZON' } })
    const seen = []
    let later
    for await (const { SubscribeToShardEvent: event } of EventStream) {
      seen.push(...event.Records.map((r) => r.Data))
      expect(event.ContinuationSequenceNumber && event.MillisBehindLatest !== undefined, 'an event without its position')
      if (seen.length && !later) later = await k.putRecord({ StreamName: name, PartitionKey: 'k', Data: BINARY[2] })
      if (seen.length === 2) break
    }
    expect(same(bytes(seen), bytes([BINARY[0], BINARY[2]])), `pushed ${seen.length} records`)
  },
  async SplitShard() {
    const { name } = await stream()
    await k.putRecord({ StreamName: name, PartitionKey: 'k', Data: Buffer.from('before') })
    await k.splitShard({ StreamName: name, ShardToSplit: shardId(0), NewStartingHashKey: (2n ** 127n).toString() })
    await active(name)
    const children = await openShards(name)
    expect(same(children.map((c) => c.ParentShardId), [shardId(0), shardId(0)]), 'no two children with that parent')
    const named = ((await drained(name, shardId(0))).ChildShards ?? []).map((c) => c.ShardId).sort()
    expect(same(named, children.map((c) => c.ShardId).sort()), `GetRecords names the children ${named}`)
  },
  async MergeShards() {
    const { name } = await stream(2)
    await k.mergeShards({ StreamName: name, ShardToMerge: shardId(0), AdjacentShardToMerge: shardId(1) })
    await active(name)
    const [child] = await openShards(name)
    expect(same([child.ParentShardId, child.AdjacentParentShardId].sort(), [shardId(0), shardId(1)]), 'parents')
    expect(child.HashKeyRange.StartingHashKey === '0' && child.HashKeyRange.EndingHashKey === MAX_HASH, 'its range')
  },
  async UpdateShardCount() {
    const { name } = await stream()
    await k.putRecord({ StreamName: name, PartitionKey: 'k', Data: Buffer.from('before') })
    const answer = await k.updateShardCount({ StreamName: name, TargetShardCount: 2, ScalingType: 'UNIFORM_SCALING' })
    expect(answer.CurrentShardCount === 1 && answer.TargetShardCount === 2, 'the counts it answers')
    await active(name)
    expect((await openShards(name)).length === 2, 'not two open shards')
    expect((await read(await iterator(name), 1)).records.length === 1, 'what the closed shard held is gone')
  },
  async UpdateStreamMode() {
    const { name, arn } = await stream()
    await k.updateStreamMode({ StreamARN: arn, StreamModeDetails: { StreamMode: 'ON_DEMAND' } })
    await active(name)
    expect((await summary({ StreamName: name })).StreamModeDetails.StreamMode === 'ON_DEMAND', 'still PROVISIONED')
  },
  async IncreaseStreamRetentionPeriod() {
    const { name, arn } = await stream()
    await k.increaseStreamRetentionPeriod({ StreamARN: arn, RetentionPeriodHours: 48 })
    await active(name)
    expect((await summary({ StreamName: name })).RetentionPeriodHours === 48, 'not 48 hours')
  },
  async DecreaseStreamRetentionPeriod() {
    const { name } = await stream()
    await k.increaseStreamRetentionPeriod({ StreamName: name, RetentionPeriodHours: 48 })
    await active(name)
    await k.decreaseStreamRetentionPeriod({ StreamName: name, RetentionPeriodHours: 24 })
    await active(name)
    expect((await summary({ StreamName: name })).RetentionPeriodHours === 24, 'not 24 hours')
    await refused(() => k.decreaseStreamRetentionPeriod({ StreamName: name, RetentionPeriodHours: 23 }),
      'InvalidArgumentException', 'ValidationException')
  },
  async UpdateMaxRecordSize() {
    const { name, arn } = await stream()
    const Data = randomBytes(1_500_000)
    await refused(() => k.putRecord({ StreamName: name, PartitionKey: 'k', Data }), 'InvalidArgumentException', 'ValidationException')
    await k.updateMaxRecordSize({ StreamARN: arn, MaxRecordSizeInKiB: 2048 })
    await active(name)
    expect((await summary({ StreamName: name })).MaxRecordSizeInKiB === 2048, 'not shown')
    await k.putRecord({ StreamName: name, PartitionKey: 'k', Data })
    expect(Data.equals(Buffer.from((await read(await iterator(name), 1)).records[0].Data)), 'the record came back different')
  },
  async AddTagsToStream() {
    const { name } = await stream()
    await k.addTagsToStream({ StreamName: name, Tags: { team: 'a', env: 'test' } })
    expect(same((await streamTags(name)).sort(), ['env=test', 'team=a']), 'not two tags')
  },
  async ListTagsForStream() {
    const { name, arn } = await stream()
    await k.addTagsToStream({ StreamARN: arn, Tags: { a: '1', b: '2', c: '3' } })
    const page = await k.listTagsForStream({ StreamName: name, Limit: 2 })
    expect(same(page.Tags.map((t) => t.Key), ['a', 'b']) && page.HasMoreTags, 'Limit=2')
    const rest = await k.listTagsForStream({ StreamName: name, ExclusiveStartTagKey: 'b' })
    expect(same(rest.Tags.map((t) => t.Key), ['c']) && !rest.HasMoreTags, 'the second page')
  },
  async RemoveTagsFromStream() {
    const { name } = await stream()
    await k.addTagsToStream({ StreamName: name, Tags: { team: 'a', env: 'test' } })
    await k.removeTagsFromStream({ StreamName: name, TagKeys: ['env'] })
    expect(same(await streamTags(name), ['team=a']), 'still there')
  },
  async TagResource() {
    const { arn } = await stream()
    await k.tagResource({ ResourceARN: arn, Tags: { team: 'a' } })
    expect(same(await tags(arn), ['team=a']), 'not shown')
  },
  async ListTagsForResource() {
    const { name, arn } = await stream()
    await k.addTagsToStream({ StreamName: name, Tags: { team: 'b' } })
    expect(same(await tags(arn), ['team=b']), 'not shown')
  },
  async UntagResource() {
    const { arn } = await stream()
    await k.tagResource({ ResourceARN: arn, Tags: { team: 'a', env: 'test' } })
    await k.untagResource({ ResourceARN: arn, TagKeys: ['team'] })
    expect(same(await tags(arn), ['env=test']), 'still there')
  },
  async StartStreamEncryption() {
    const { name } = await stream()
    await k.startStreamEncryption({ StreamName: name, EncryptionType: 'KMS', KeyId: 'alias/aws/kinesis' })
    await active(name)
    const s = await summary({ StreamName: name })
    expect(s.EncryptionType === 'KMS' && s.KeyId === 'alias/aws/kinesis', `shown as ${s.EncryptionType}`)
  },
  async StopStreamEncryption() {
    const { name } = await stream()
    for (const call of ['startStreamEncryption', 'stopStreamEncryption']) {
      await k[call]({ StreamName: name, EncryptionType: 'KMS', KeyId: 'alias/aws/kinesis' })
      await active(name)
    }
    expect((await summary({ StreamName: name })).EncryptionType === 'NONE', 'still encrypted')
  },
  async PutResourcePolicy() {
    const { arn } = await stream()
    await k.putResourcePolicy({ ResourceARN: arn, Policy: policy(arn) })
    expect(same(JSON.parse((await k.getResourcePolicy({ ResourceARN: arn })).Policy), JSON.parse(policy(arn))), 'not kept')
  },
  async GetResourcePolicy() {
    const { arn } = await stream()
    await k.putResourcePolicy({ ResourceARN: arn, Policy: policy(arn) })
    expect(JSON.parse((await k.getResourcePolicy({ ResourceARN: arn })).Policy).Version === '2012-10-17', 'not shown')
  },
  async DeleteResourcePolicy() {
    const { arn } = await stream()
    await k.putResourcePolicy({ ResourceARN: arn, Policy: policy(arn) })
    await k.deleteResourcePolicy({ ResourceARN: arn })
    const left = await k.getResourcePolicy({ ResourceARN: arn }).then((a) => a.Policy, (e) => {
      expect(e.name === 'ResourceNotFoundException', e.name)
      return ''
    })
    expect(!left.includes('Statement'), 'still there')
  },
  async EnableEnhancedMonitoring() {
    const { name } = await stream()
    const answer = await k.enableEnhancedMonitoring({ StreamName: name, ShardLevelMetrics: ['IncomingBytes', 'OutgoingBytes'] })
    expect(same([...answer.DesiredShardLevelMetrics].sort(), ['IncomingBytes', 'OutgoingBytes']), 'what is wanted')
    await active(name)
    const [{ ShardLevelMetrics }] = (await summary({ StreamName: name })).EnhancedMonitoring
    expect(same([...ShardLevelMetrics].sort(), ['IncomingBytes', 'OutgoingBytes']), `shows ${ShardLevelMetrics}`)
  },
  async DisableEnhancedMonitoring() {
    const { name, arn } = await stream()
    await k.enableEnhancedMonitoring({ StreamName: name, ShardLevelMetrics: ['IncomingBytes', 'OutgoingBytes'] })
    await active(name)
    const answer = await k.disableEnhancedMonitoring({ StreamARN: arn, ShardLevelMetrics: ['IncomingBytes'] })
    expect(same([...answer.CurrentShardLevelMetrics].sort(), ['IncomingBytes', 'OutgoingBytes']), 'what it was')
    await active(name)
    const [{ ShardLevelMetrics }] = (await summary({ StreamName: name })).EnhancedMonitoring
    expect(same(ShardLevelMetrics, ['OutgoingBytes']), `shows ${ShardLevelMetrics}`)
  },
  async DescribeLimits() {
    await stream()
    const limits = await k.describeLimits({})
    expect(limits.ShardLimit > 0 && limits.OpenShardCount > 0, `counts ${limits.OpenShardCount} open shards`)
  },
  async DescribeAccountSettings() {
    expect((await k.describeAccountSettings({})).MinimumThroughputBillingCommitment, 'says nothing')
  },
}

const results = {}
for (const [name, check] of Object.entries(checks)) {
  try {
    await check()
    results[name] = null
  } catch (e) {
    const status = e.$metadata?.httpStatusCode
    results[name] = `${status ? `${status} ` : ''}${e.name === 'Error' ? '' : `${e.name}: `}${String(e.message).split('\n')[0].slice(0, 120)}`
  }
}
k.destroy()
console.log(JSON.stringify(results))
process.exit(0)
