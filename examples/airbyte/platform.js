// Runs a read as the platform would, and ends it early:
//
//   node platform.js WANT OUT SOURCE config.json catalog.json
//
// A first source is killed with SIGKILL at its first record, the next at its
// first STATE, and so on from the last STATE, until one ends by itself. What a
// destination has committed then, the records before a STATE, must be WANT
// different events. A last one is stopped with SIGTERM. The output of round n
// is kept in OUT/round-n.jsonl, the last state in OUT/state.json.
//
// A source can't be through before it is stopped: what it has to say is more
// than the pipe holds, and nobody reads on before the signal is sent.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

const [want, out, source, config, catalog] = process.argv.slice(2)
const stateFile = `${out}/state.json`
const committed = new Set()
let kills = 0
let repeated = 0

// round runs the source until a message of that type comes, or to its end, and
// returns how it ended.
async function round(n, until, kill = 'SIGKILL') {
  const state = n === 'term' ? [] : ['--state', stateFile]
  const child = spawn(source, ['read', '--config', config, '--catalog', catalog, ...state], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = once(child, 'exit')
  const lines = []
  let pending = []
  for await (const text of createInterface({ input: child.stdout })) {
    let message
    try {
      message = JSON.parse(text)
    } catch (err) {
      if (!child.killed) throw err
      continue // half a line
    }
    lines.push(text)
    if (message.type === 'RECORD') pending.push(message.record.data.UID)
    if (message.type === 'STATE') {
      for (const uid of pending) {
        if (committed.has(uid)) repeated++
        committed.add(uid)
      }
      pending = []
      writeFileSync(stateFile, JSON.stringify([message.state]))
    }
    if (message.type === until && !child.killed) child.kill(kill)
  }
  const [code, signal] = await exit
  writeFileSync(`${out}/round-${n}.jsonl`, lines.map(l => l + '\n').join(''))
  const end = signal ?? `exit ${code}`
  console.log(`round ${n}: ${end}, ${committed.size} events committed`)
  return end
}

writeFileSync(stateFile, '[]')
let end = await round(0, 'RECORD')
for (let n = 1; end === 'SIGKILL'; n++) {
  kills++
  end = await round(n, committed.size < want / 2 ? 'STATE' : 'nothing')
}
console.log(`${kills} kills, ${committed.size} of ${want} events, ${repeated} of them more than once`)
if (end !== 'exit 0') throw new Error('the last round failed')
if (kills < 2) throw new Error('not killed twice')
if (committed.size !== Number(want)) throw new Error('events are missing')
if (repeated > want / 10) throw new Error('too much was read again')

const state = readFileSync(stateFile)
end = await round('term', 'RECORD', 'SIGTERM')
if (end !== 'exit 1') throw new Error('a source that was stopped must say so')
writeFileSync(stateFile, state)
