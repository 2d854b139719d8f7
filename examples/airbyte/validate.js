// Checks what the source printed against the protocol:
//
//   node validate.js messages.jsonl spec.jsonl catalog.jsonl [config.json...]
//
// Every message against protocol.schema.json, every record against the schema
// that discover gave for its stream, every configuration against the spec, and
// the rules that span messages. The spec's and the catalog's own messages are
// checked too. A last line without an end is what a killed source may leave.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const Ajv = require('ajv').default
const formats = require('ajv-formats').default

// strict: a misspelt keyword in any of the schemas is an error, not a rule less.
const ajv = new Ajv({ strict: true, strictRequired: false, strictTypes: false, allErrors: true })
formats(ajv)
ajv.addVocabulary(['airbyte_secret', 'airbyte_type', 'order'])

const here = name => JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8'))
const isMessage = ajv.compile(here('protocol.schema.json'))

let failed = 0
function fail(where, what) {
  if (++failed <= 20) console.error(`${where}: ${what}`)
}

function messages(file) {
  const lines = readFileSync(file, 'utf8').split('\n')
  lines.pop()
  return lines.map((text, i) => {
    const where = `${file}:${i + 1}`
    let message
    try {
      message = JSON.parse(text)
    } catch (err) {
      fail(where, err.message)
      return { type: 'broken' }
    }
    if (!isMessage(message)) fail(where, `${ajv.errorsText(isMessage.errors)} in ${text.slice(0, 300)}`)
    return Object.assign(message, { text, where })
  })
}

function only(file, type) {
  const found = messages(file).filter(m => m.type === type)
  if (found.length !== 1) {
    console.error(`${file}: ${found.length} ${type} messages instead of one`)
    process.exit(1)
  }
  return found[0]
}

const [messagesFile, specFile, catalogFile, ...configFiles] = process.argv.slice(2)
const spec = only(specFile, 'SPEC').spec
const catalog = only(catalogFile, 'CATALOG').catalog

const isConfig = ajv.compile(spec.connectionSpecification)
for (const file of configFiles) {
  if (!isConfig(JSON.parse(readFileSync(file, 'utf8')))) fail(file, ajv.errorsText(isConfig.errors))
}

const streams = new Map()
for (const stream of catalog.streams) {
  for (const path of [stream.default_cursor_field, ...stream.source_defined_primary_key]) {
    if (!(path[0] in stream.json_schema.properties)) fail(catalogFile, `no property ${path}`)
  }
  // The properties are complete: a record may have no other.
  streams.set(stream.name, ajv.compile({ ...stream.json_schema, additionalProperties: false }))
}

const counts = {}
let pending = 0
for (const m of messages(messagesFile)) {
  counts[m.type] = (counts[m.type] ?? 0) + 1
  if (m.type === 'RECORD') {
    pending++
    const isRecord = streams.get(m.record.stream)
    if (!isRecord) fail(m.where, `no stream ${m.record.stream} was discovered`)
    else if (!isRecord(m.record.data)) fail(m.where, ajv.errorsText(isRecord.errors))
  }
  if (m.type === 'STATE') {
    if (m.state.sourceStats?.recordCount !== pending) fail(m.where, `recordCount is not ${pending}`)
    // "The value should always have a decimal point for proper serialization."
    if (!/"recordCount":\d+\.\d/.test(m.text)) fail(m.where, 'recordCount has no decimal point')
    pending = 0
  }
}
console.log(`${messagesFile}: ${JSON.stringify(counts)}${failed ? `, ${failed} FAILURES` : ' valid'}`)
process.exit(failed ? 1 : 0)
