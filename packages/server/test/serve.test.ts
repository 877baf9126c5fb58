/** `magicmix serve`: the command, its config file, its signals. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'

import { MagicMix } from 'magicmix'
import { type ServerOptions, createServer } from 'magicmix-server'

import { readConfig } from '../dist/config.js'
import { Client, long, small } from './support/served.js'

const root = path.join(__dirname, '..', '..', '..')
const main = path.join(root, 'dist', 'cli', 'main.js')

describe('magicmix serve', () => {
  let folder: string
  const children: ChildProcess[] = []
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-serve-'))
  })
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  })
  after(() => rm(folder, { recursive: true, force: true }))

  /** The command, and its first line of output. */
  async function start(args: string[], env: NodeJS.ProcessEnv = {}) {
    const child = spawn(process.execPath, [main, 'serve', ...args], {
      env: { ...process.env, MAGICMIX_DEVICE: 'cpu', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    children.push(child)
    let complaints = ''
    child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()))
    const exit = once(child, 'exit')
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    const { value = '' } = (await lines.next()) as { value?: string }
    return { child, line: value, exit, complaints: () => complaints }
  }

  it('serves the model in the box, and finishes what runs when it is told to end', async () => {
    const { child, line, exit } = await start(['--port', '0'])
    const [, address = ''] = /^magicmix serves at (http:\/\/127\.0\.0\.1:\d+)$/.exec(line) ?? []
    const client = new Client(address)
    const { body } = await client.send<{ data: { id: string }[] }>('GET', '/v1/models')
    assert.equal(body.data[0]?.id, 'world-128')
    const mix = await client.submit('/v1/mixes', small)
    const events = client.events(mix.links.events ?? '')
    for (;;) if ((await client.send('GET', mix.links.self ?? '')).body.status !== 'queued') break
    child.kill('SIGTERM')
    assert.equal((await events).at(-1)?.data.status, 'completed')
    assert.deepEqual(await exit, [0, null])
  })

  it('reads a config file; the token is needed for strangers, and everybody then has to show it', async () => {
    const config = path.join(folder, 'server.yaml')
    await writeFile(config, 'host: 0.0.0.0\nport: 0\nmodels:\n  small: {}\nlimits:\n  steps: 9\n')
    const refused = await start(['--config', config])
    assert.deepEqual(await refused.exit, [2, null])
    assert.match(refused.complaints(), /Expected a token beside the host 0\.0\.0\.0/)

    const { line } = await start(['--config', config, '--json'], { MAGICMIX_TOKEN: 'secret' })
    const { address } = JSON.parse(line) as { address: string }
    const own = address.replace('0.0.0.0', '127.0.0.1')
    assert.equal((await new Client(own).send('GET', '/v1/models')).status, 401)
    assert.equal((await new Client(own).send('GET', '/health/live')).status, 200)
    const basic = `Basic ${Buffer.from('any:secret').toString('base64')}`
    for (const authorization of ['Bearer secret', 'bearer secret', basic]) {
      const client = new Client(own, { authorization })
      assert.equal((await client.send('POST', '/v1/mixes', long)).status, 422, '9 steps at most')
    }
    for (const authorization of [
      'Bearer secre',
      'Bearer ',
      'secret',
      'Basic secret',
      'Bearer secrets',
    ]) {
      const client = new Client(own, { authorization })
      assert.equal((await client.send('GET', '/v1/models')).status, 401, authorization)
    }
  })

  it('says what is wrong with its options', async () => {
    const file = path.join(folder, 'wrong.yaml')
    for (const [text, complaint] of [
      ['prot: 1', /has no option 'prot'/],
      ['port: "1"', /Expected a number for port/],
      ['hosts: a', /Expected a list for hosts/],
      ['log: loud', /Expected one of silent/],
      ['- a', /Expected an object for the config file/],
      ['a: [', /cannot be read/],
    ] as const) {
      await writeFile(file, text)
      await assert.rejects(readConfig(file), complaint)
    }
    for (const [options, complaint] of [
      [{ limits: { stepz: 1 } }, /limits has no option 'stepz'/],
      [{ limits: { steps: 0 } }, /Expected a number from 1 for limits\.steps/],
      [{ defaultModel: 'other' }, /Expected the name of a model/],
    ] as const) {
      await assert.rejects(createServer(options as ServerOptions), complaint)
    }
    const mixer = await MagicMix.load({ device: 'cpu', threads: 1 })
    await assert.rejects(createServer({ mixer, models: { default: {} } }), /another name/)
    await mixer.dispose()
    await writeFile(file, 'models:\n  a: {}\n')
    const both = await start(['--config', file, '--precision', 'f32'])
    assert.deepEqual(await both.exit, [2, null])
    assert.match(both.complaints(), /The config file has models/)
    await writeFile(file, '')
    assert.deepEqual(await readConfig(file), {})
    const { exit, complaints } = await start(['--log', 'loud'])
    assert.deepEqual(await exit, [2, null])
    assert.match(complaints(), /Expected one of silent, .* for log/)
  })
})
