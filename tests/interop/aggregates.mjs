// KPL aggregates by aws-kinesis-agg (npm). node aggregates.mjs make|read, one JSON value from stdin to stdout; data as base64.
// make: [[[key, hash key or null, data], …], …] → [[key, hash key or null, aggregate], …]
// read: [data, …] → [[[key, data], …], …], the user records of each
import { createRequire } from 'node:module'
import { text } from 'node:stream/consumers'

// The packages are not beside this file but where `run` installed them.
const require = createRequire(`${process.env.INTEROP_NODE}/`)
const { RecordAggregator, deaggregateSync } = require('aws-kinesis-agg')

function make(users) {
  const aggregator = new RecordAggregator()
  for (const [partitionKey, explicitHashKey, data] of users) {
    aggregator.addUserRecord({ partitionKey, explicitHashKey: explicitHashKey ?? undefined, data: Buffer.from(data, 'base64') })
  }
  const { partitionKey, ExplicitHashKey, data } = aggregator.build()
  return [partitionKey, ExplicitHashKey ?? null, data.toString('base64')]
}

function read(data) {
  let users
  deaggregateSync({ partitionKey: 'outer', sequenceNumber: '1', data }, true, (error, records) => {
    if (error) throw error
    users = records.map((r) => [r.partitionKey, r.data])
  })
  return users
}

const work = { make, read }[process.argv[2]]
const input = JSON.parse(await text(process.stdin))
process.stdout.write(JSON.stringify(input.map(work)))
