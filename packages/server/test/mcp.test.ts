/** The tools of MCP, driven by the SDK's own client: over HTTP, and over standard input and output. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { Client as McpClient } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { MagicMix, readRecipe } from 'magicmix'
import sharp from 'sharp'

import { mcpServer } from '../dist/mcp/tools.js'
import { Client, type Served, long, served, small } from './support/served.js'

const root = path.join(__dirname, '..', '..', '..')
const main = path.join(root, 'dist', 'cli', 'main.js')
const layouts = path.join(root, 'models', 'layouts')

interface Result {
  isError?: boolean
  content: { type: string; text?: string; data?: string; mimeType?: string }[]
}

async function call(client: McpClient, name: string, args: Record<string, unknown>) {
  const { content, isError = false } = (await client.callTool({ name, arguments: args })) as Result
  const image = content.find(({ type }) => type === 'image')
  return {
    isError,
    text: content.find(({ type }) => type === 'text')?.text ?? '',
    mimeType: image?.mimeType,
    picture: Buffer.from(image?.data ?? '', 'base64'),
  }
}

const newClient = () => new McpClient({ name: 'test', version: '1' })

describe('MCP over HTTP', () => {
  let place: Served & { end(): Promise<void> }
  let client: McpClient
  before(async () => {
    place = await served({ token: 'secret' })
    client = newClient()
    await client.connect(transport('secret'))
  })
  after(async () => {
    await client.close()
    await place.end()
  })

  function transport(token: string) {
    const requestInit = { headers: { authorization: `Bearer ${token}` } }
    return new StreamableHTTPClientTransport(new URL(`${place.address}/mcp`), { requestInit })
  }

  it('lists its tools', async () => {
    const { tools } = await client.listTools()
    assert.deepEqual(
      tools.map(({ name }) => name),
      ['mix', 'sweep', 'tokenize', 'inspect'],
    )
    const [mix] = tools
    assert.ok(mix?.inputSchema.properties?.content && !('allOf' in mix.inputSchema))
    assert.doesNotMatch(JSON.stringify(tools), /x-names-file|layoutFile/)
  })

  it('mix gives the picture, and tells how far it is', async () => {
    const progress: number[] = []
    const { content } = (await client.callTool({ name: 'mix', arguments: small }, undefined, {
      onprogress: ({ progress: now }) => progress.push(now),
    })) as Result
    const picture = Buffer.from(content[0]?.data ?? '', 'base64')
    const own = await place.mixer.mix(small)
    assert.deepEqual(picture, await own.toBuffer({ format: 'png', recipe: true }))
    assert.ok(progress.length > 3)
    const { id, seed } = JSON.parse(content[1]?.text ?? '') as { id: string; seed: number }
    assert.match(id, /^mix_/)
    assert.equal(seed, 7)

    const { text } = await call(client, 'inspect', { picture: picture.toString('base64') })
    assert.deepEqual(JSON.parse(text), await readRecipe(picture))
  })

  it('sweep gives the sheet', async () => {
    const { picture, text, mimeType } = await call(client, 'sweep', {
      ...{ ...small, vary: { nu: [0.2, 0.9] } },
    })
    assert.equal(mimeType, 'image/png')
    assert.ok(((await sharp(picture).metadata()).width ?? 0) > 256)
    assert.equal((JSON.parse(text) as { cells: unknown[] }).cells.length, 2)
  })

  it('tokenize cuts as the mixer does', async () => {
    const { text } = await call(client, 'tokenize', { text: 'a photorealistic corgi' })
    const { tokens, fits } = JSON.parse(text) as { tokens: unknown; fits: boolean }
    assert.deepEqual([tokens, fits], [place.mixer.tokenize('a photorealistic corgi'), true])
  })

  it('says what is wrong, so that a model can do better', async () => {
    for (const [name, args, message] of [
      ['mix', { ...small, nu: 2 }, /^INVALID_ARGUMENT: .*nu/],
      ['mix', { ...small, layout: '/etc/passwd' }, /^INVALID_ARGUMENT: layout is not in a form/],
      ['mix', { content: 'a cat', layoutFile: '/etc/passwd' }, /layoutFile is not offered/],
      ['mix', { ...small, model: 'other' }, /^MODEL_NOT_FOUND/],
      ['tokenize', {}, /text/],
      ['inspect', { picture: 'AAAA' }, /^PICTURE_UNREADABLE/],
      ['inspect', { file: '/etc/passwd' }, /file is not offered/],
      ['inspect', {}, /picture/],
      ['paint', {}, /^NOT_FOUND/],
    ] as const) {
      const { isError, text } = await call(client, name, args)
      assert.ok(isError)
      assert.match(text, message)
    }
  })

  it('cancels the mix of a client that hangs up, or gives up where it is connected', async () => {
    const connected = newClient()
    const [ours, theirs] = InMemoryTransport.createLinkedPair()
    await mcpServer(place.server.context).connect(theirs)
    await connected.connect(ours)
    const giving = new AbortController()
    const given = connected.callTool({ name: 'mix', arguments: long }, undefined, {
      signal: giving.signal,
    })
    await running(1)
    giving.abort()
    await assert.rejects(given)
    await running(0)
    const other = newClient()
    await other.connect(transport('secret'))
    const lost = other.callTool({ name: 'mix', arguments: long })
    await running(1)
    await other.close()
    await assert.rejects(lost)
    await running(0)
    const metrics = await new Client(place.address, { authorization: 'Bearer secret' }).send<{
      text: string
    }>('GET', '/metrics')
    assert.match(
      metrics.body.text,
      /finished_total\{kind="mix",status="cancelled",model="default"\} 2/,
    )
  })

  async function running(count: number): Promise<void> {
    while ((await place.server.context.jobs.counts()).running !== count) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  it('wants the token, and is no stream', async () => {
    const stranger = newClient()
    await assert.rejects(stranger.connect(transport('wrong')))
    const plain = new Client(place.address, { authorization: 'Bearer secret' })
    const get = await plain.send('GET', '/mcp')
    assert.deepEqual([get.status, get.headers.get('allow')], [405, 'POST'])
    assert.equal((await plain.send('POST', '/mcp', '{')).status, 400)
    assert.equal((await plain.send('POST', '/mcp', { jsonrpc: '2.0' })).status >= 400, true)
  })
})

describe('magicmix mcp', () => {
  let folder: string
  let client: McpClient
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-mcp-'))
    await copyFile(path.join(layouts, 'heart.png'), path.join(folder, 'heart.png'))
    await symlink('/etc/passwd', path.join(folder, 'link.png'))
    await writeFile(path.join(folder, '..', `${path.basename(folder)}.png`), 'beside it')
    client = newClient()
    const args = [main, 'mcp', '--files', folder, '--threads', '1']
    const env = { ...process.env, MAGICMIX_DEVICE: 'cpu' } as Record<string, string>
    await client.connect(new StdioClientTransport({ command: process.execPath, args, env }))
  })
  after(async () => {
    await client?.close()
    await rm(folder, { recursive: true, force: true })
    await rm(`${folder}.png`, { force: true })
  })

  it('mixes, with a picture of the folder by its name', async () => {
    const { content, steps, seed } = small
    const { picture } = await call(client, 'mix', { layoutFile: 'heart.png', content, steps, seed })
    const mixer = await MagicMix.load({ device: 'cpu', threads: 1 })
    const layout = path.join(layouts, 'heart.png')
    const own = await mixer.mix({ layout, content, steps, seed })
    assert.deepEqual(await sharp(picture).raw().toBuffer(), Buffer.from(own.data))
    await mixer.dispose()
    const { text } = await call(client, 'inspect', { file: 'heart.png' })
    assert.match(text, /^RECIPE_NOT_FOUND/)
  })

  it('reads nothing beside the folder', async () => {
    const beside = `../${path.basename(folder)}.png`
    for (const file of ['/etc/passwd', beside, 'link.png', '.', '', 'none.png', 'a\0.png', 7]) {
      const { isError, text } = await call(client, 'mix', { content: 'a cat', layoutFile: file })
      assert.ok(isError)
      assert.match(text, /no such picture in the folder/, String(file))
    }
  })

  it('writes nothing but messages, and ends with its input', async () => {
    const child = spawn(process.execPath, [main, 'mcp', '--log', 'debug'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...process.env, MAGICMIX_DEVICE: 'cpu' },
    })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    const exit = once(child, 'exit')
    const send = (message: object) =>
      child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
    const clientInfo = { name: 'test', version: '1' }
    const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo }
    send({ id: 1, method: 'initialize', params })
    send({ method: 'notifications/initialized' })
    send({ id: 2, method: 'tools/call', params: { name: 'mix', arguments: small } })
    while (!output.includes('"id":2')) await new Promise((resolve) => setTimeout(resolve, 10))
    child.stdin.end()
    assert.deepEqual(await exit, [0, null])
    const messages = output.trim().split('\n')
    for (const line of messages)
      assert.equal((JSON.parse(line) as { jsonrpc: string }).jsonrpc, '2.0')
  })
})
