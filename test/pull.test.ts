import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import {
  access,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  readlink,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix, MagicMixError, convert, pull } from 'magicmix'
import type { ConvertProgressEvent, LoadProgressEvent, ModelKind, ProgressEvent } from 'magicmix'

import { Backoff } from '../dist/hub/backoff.js'
import { resolveModel } from '../dist/hub/pull.js'
import { shortNames } from '../dist/hub/references.js'
import { addedFiles } from './support/added-files.js'
import { HubServer, type Misbehaviour, commit } from './support/hub-server.js'
import { tinyDiffusers, tinyHeads, tinyModel, tinyXlDiffusers } from './support/models.js'
import { packageRoot } from './support/package-root.js'
import { runNode, smallRequest } from './support/programs.js'

const repo = 'somebody/model'
const file = 'sub/model.safetensors'
const content = randomBytes(300_000)
const sha256 = createHash('sha256').update(content).digest('hex')

const variables = [
  ...['HF_ENDPOINT', 'HF_HOME', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_TOKEN_PATH'],
  ...['HF_TOKEN', 'HF_HUB_OFFLINE', 'XDG_CACHE_HOME'],
]

describe('pull', () => {
  let hub: HubServer
  let home: string
  const outside = Object.fromEntries(variables.map((name) => [name, process.env[name]]))

  before(async () => {
    hub = await HubServer.start()
    Backoff.firstWaitMs = 10
  })
  after(async () => {
    await hub.stop()
  })
  beforeEach(async () => {
    home = await mkdtemp(path.join(tmpdir(), 'magicmix-hub-'))
    for (const name of variables) delete process.env[name]
    process.env.HF_ENDPOINT = hub.address
    process.env.HF_HOME = home
    hub.reset()
    hub.repos.clear()
    hub.add(repo, { [file]: content, 'README.md': 'hello' })
  })
  afterEach(async () => {
    for (const name of variables) {
      if (outside[name] === undefined) delete process.env[name]
      else process.env[name] = outside[name]
    }
    await rm(home, { recursive: true, force: true })
  })

  const cached = (...parts: string[]) =>
    path.join(home, 'hub', `models--${repo.replace('/', '--')}`, ...parts)
  const incomplete = () => cached('blobs', `${sha256}.incomplete`)

  describe('a file', () => {
    it('lies in the cache as Python would have put it', async () => {
      const pulled = await pull(`${repo}/${file}`)

      const place = cached('snapshots', commit, file)
      assert.deepEqual(pulled, {
        path: place,
        model: `hf:${repo}/${file}`,
        repo,
        revision: 'main',
        commit,
        license: { name: 'mit', url: `${hub.address}/${repo}` },
        files: [file],
        downloadedBytes: content.length,
      })
      assert.deepEqual(await readFile(place), content)
      assert.equal(await readlink(place), path.join('..', '..', '..', 'blobs', sha256))
      assert.equal(await readFile(cached('refs', 'main'), 'utf8'), commit)
      assert.deepEqual(await readdir(cached('blobs')), [sha256])
    })

    it('that is no LFS file is known by the hash that git gives it', async () => {
      await pull(`${repo}/README.md`)
      // git hash-object of 'hello'
      assert.deepEqual(await readdir(cached('blobs')), ['b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0'])
    })

    for (const [name, revision] of [
      [`${repo}@v1/${file}`, 'v1'],
      [`hf:${repo}@refs/pr/1/${file}`, 'refs/pr/1'],
    ] as const) {
      it(`may be of another revision: ${name}`, async () => {
        assert.equal((await pull(name)).revision, revision)
        assert.equal(
          (await pull(`${repo}/${file}`, { revision })).model,
          `hf:${name.replace('hf:', '')}`,
        )
        assert.equal(await readFile(cached('refs', revision), 'utf8'), commit)
      })
    }

    it('of a named commit is not even asked for when it is there', async () => {
      await pull(`${repo}@${commit}/${file}`)
      hub.asked = []
      assert.equal((await pull(`${repo}@${commit}/${file}`)).downloadedBytes, 0)
      assert.deepEqual(hub.asked, [])
    })

    it('is downloaded once when two pull it at once', async () => {
      const [one, other] = await Promise.all([pull(`${repo}/${file}`), pull(`${repo}/${file}`)])
      assert.equal(one.path, other.path)
      assert.equal(one.downloadedBytes + other.downloadedBytes, content.length)
      assert.equal(hub.asked.filter(({ from }) => from === 'storage').length, 1)
    })

    it('is told of on the way, the licence before the first byte', async () => {
      const events: LoadProgressEvent[] = []
      let askedBefore: number | undefined
      await pull(`${repo}/${file}`, {
        onProgress(event) {
          askedBefore ??= hub.downloads.length
          events.push(event)
        },
      })
      assert.equal(askedBefore, 0)
      const [first, last] = [events[0], events.at(-1)]
      assert.ok(first?.stage === 'download' && last?.stage === 'download')
      assert.deepEqual([first.bytes, first.step, first.license?.name], [0, 0, 'mit'])
      assert.deepEqual([last.bytes, last.totalBytes], [content.length, content.length])
      assert.deepEqual([last.step, last.steps, last.file], [1, 1, file])
    })
  })

  describe('a bad connection', () => {
    it('that breaks is taken up where it was, as often as it takes', async () => {
      const sent = breakAfter(25_000, 10)
      await pull(`${repo}/${file}`)

      const ranges = hub.asked.filter(({ from }) => from === 'storage').map(({ range }) => range)
      assert.equal(ranges.length, 11)
      assert.equal(ranges[0], undefined)
      for (const range of ranges.slice(1)) assert.match(String(range), /^bytes=[1-9]\d*-$/)
      // no byte was asked for again that had come
      assert.equal(sent(), content.length)
      assert.deepEqual(await readFile(cached('snapshots', commit, file)), content)
    })

    it('is taken up by the next pull too, with the hash over both parts', async () => {
      await mkdir(cached('blobs'), { recursive: true })
      await writeFile(incomplete(), content.subarray(0, 123_456))
      const { downloadedBytes } = await pull(`${repo}/${file}`)
      assert.equal(downloadedBytes, content.length - 123_456)
      assert.equal(hub.asked.at(-1)?.range, 'bytes=123456-')
      assert.deepEqual(await readFile(cached('snapshots', commit, file)), content)
    })

    it('to a server that cannot go on in the middle begins again', async () => {
      await mkdir(cached('blobs'), { recursive: true })
      await writeFile(incomplete(), randomBytes(1000)) // not even the right ones
      storage((response) => response.end(content))
      await pull(`${repo}/${file}`)
      assert.deepEqual(await readFile(cached('snapshots', commit, file)), content)
    })

    it('is tried again after 503', async () => {
      let failures = 0
      hub.misbehave = (_, response) => {
        if (failures++ % 3 > 0) return false
        response.writeHead(503).end()
        return true
      }
      await pull(`${repo}/${file}`)
      assert.ok(failures > 3)
    })

    it('that never gets better is DOWNLOAD_FAILED, and says what was asked', async () => {
      storage((response) => response.writeHead(500).end())
      await assert.rejects(pull(`${repo}/${file}`), failure('DOWNLOAD_FAILED', /status 500/))
      assert.equal(hub.downloads.length, 6)
    })

    it('to nobody is DOWNLOAD_FAILED, unless the model is in the cache', async () => {
      const gone = await HubServer.start()
      const nobody = gone.address
      await gone.stop()
      process.env.HF_ENDPOINT = nobody
      await assert.rejects(pull(`${repo}/${file}`), failure('DOWNLOAD_FAILED', /HF_ENDPOINT/))

      process.env.HF_ENDPOINT = hub.address
      const { path: place } = await pull(`${repo}/${file}`)
      process.env.HF_ENDPOINT = nobody
      assert.equal((await pull(`${repo}/${file}`)).path, place)
    })

    it('to something that is no hub is DOWNLOAD_FAILED', async () => {
      hub.misbehave = (_, response) => {
        response.end('<html>Log in to the airport</html>')
        return true
      }
      await assert.rejects(
        pull(`${repo}/${file}`),
        failure('DOWNLOAD_FAILED', /no answer of the hub/),
      )
    })
  })

  describe('a server that lies', () => {
    it('about the content: DOWNLOAD_DAMAGED, and nothing is kept', async () => {
      storage((response) => response.end(randomBytes(content.length)))
      await assert.rejects(
        pull(`${repo}/${file}`),
        failure('DOWNLOAD_DAMAGED', /model\.safetensors/),
      )
      assert.deepEqual(await readdir(cached('blobs')), [])
      await assert.rejects(lstat(cached('snapshots', commit, file)))

      hub.reset()
      await pull(`${repo}/${file}`)
    })

    it('about the part that is there already: DOWNLOAD_DAMAGED too', async () => {
      await mkdir(cached('blobs'), { recursive: true })
      await writeFile(incomplete(), randomBytes(1000))
      await assert.rejects(pull(`${repo}/${file}`), failure('DOWNLOAD_DAMAGED', /deleted/))
      assert.deepEqual(await readdir(cached('blobs')), [])
    })

    it('and sends without end is cut off', async () => {
      let sent = 0
      storage((response) => {
        const send = () => {
          while (!response.destroyed && response.write(content)) sent += content.length
        }
        response.on('drain', send)
        send()
      })
      await assert.rejects(pull(`${repo}/${file}`), failure('DOWNLOAD_DAMAGED', /300000 bytes/))
      assert.ok(sent < 100 * content.length) // what the system buffers
      assert.deepEqual(await readdir(cached('blobs')), [])
    })

    it('and sends less than announced, time and again, is DOWNLOAD_FAILED', async () => {
      storage((response) => response.end(content.subarray(0, 1000)))
      await assert.rejects(pull(`${repo}/${file}`), failure('DOWNLOAD_FAILED', /ended too early/))
    })

    for (const name of [
      '../evil',
      '/etc/evil',
      'a/../../evil',
      'a\\..\\evil',
      'C:evil',
      'a//b',
      '',
    ]) {
      it(`and names a file '${name}' gets nothing written`, async () => {
        hub.changeEntry = (entry) => ({ ...entry, path: entry.path === file ? entry.path : name })
        await assert.rejects(pull(`${repo}/${file}`), failure('DOWNLOAD_FAILED', /with the name/))
        await assert.rejects(access(path.join(home, 'hub')))
      })
    }

    for (const [what, change] of [
      ['a hash', { lfs: { oid: '../../evil' } }],
      ['a negative size', { size: -1 }],
      ['a size that is no number', { size: '12' }],
    ] as const) {
      it(`about ${what} gets nothing written`, async () => {
        hub.changeEntry = (entry) => ({ ...entry, ...change })
        await assert.rejects(pull(`${repo}/${file}`), failure('DOWNLOAD_FAILED', /no answer/))
        await assert.rejects(access(path.join(home, 'hub')))
      })
    }
  })

  describe('a full disk', () => {
    it('is DISK_FULL before anything is downloaded', async () => {
      hub.changeEntry = (entry) => ({ ...entry, size: 2 ** 52 })
      const error = await pull(`${repo}/${file}`).catch((thrown: unknown) => thrown)
      assert.ok(failure('DISK_FULL', /HF_HUB_CACHE/)(error))
      const { neededBytes, freeBytes } = (error as Extract<MagicMixError, { code: 'DISK_FULL' }>)
        .details
      assert.ok(neededBytes === 2 ** 52 && typeof freeBytes === 'number' && freeBytes > 0)
      assert.deepEqual(hub.downloads, [])
    })

    it('is DISK_FULL in the middle of it', async function () {
      const full = '/dev/full' // has no room for anything that is written
      await access(full).catch(() => this.skip())
      await mkdir(cached('blobs'), { recursive: true })
      await symlink(full, incomplete())
      await assert.rejects(pull(`${repo}/${file}`), failure('DISK_FULL', /needs 0\.3 MB/))

      await rm(incomplete())
      await pull(`${repo}/${file}`)
    })
  })

  it('says so if the cache cannot be written', async () => {
    process.env.HF_HUB_CACHE = path.join(packageRoot, 'package.json')
    await assert.rejects(pull(`${repo}/${file}`), failure('DOWNLOAD_FAILED', /cannot be written/))
  })

  describe('what is not there', () => {
    const missing: [what: string, name: string, message: RegExp][] = [
      ['a repository', 'nobody/nothing', /no such repository/],
      ['a repository that has moved', 'stabilityai/stable-diffusion-2-1', /mean sd2-community/],
      ['a revision', `${repo}@v2/${file}`, /no revision 'v2'/],
      ['a file', `${repo}/sub/modle.safetensors`, /did you mean 'sub\/model\.safetensors'/],
      ['a diffusers folder', repo, /not a diffusers folder.*sub\/model\.safetensors/],
    ]
    for (const [what, name, message] of missing) {
      it(`is MODEL_NOT_FOUND: ${what}`, async () => {
        await assert.rejects(pull(name), failure('MODEL_NOT_FOUND', message))
        assert.deepEqual(hub.downloads, [])
      })
    }

    it('is MODEL_UNSUPPORTED if it is another family, before gigabytes have come', async () => {
      for (const [file, message] of [
        [
          'text_encoder_3/config.json',
          /has a text_encoder_3, so it is no Stable Diffusion 1, 2 or XL/,
        ],
        ['transformer/config.json', /has a transformer/],
        ['text_encoder_2/config.json', /the refiner of Stable Diffusion XL/],
      ] as const) {
        hub.add('stabilityai/other', { 'model_index.json': '{}', [file]: '{}' })
        await assert.rejects(pull('stabilityai/other'), failure('MODEL_UNSUPPORTED', message))
      }
      assert.deepEqual(hub.downloads, [])
    })

    for (const name of [
      '',
      'sd1.6',
      'model',
      '../../etc/passwd',
      'a/b/../../c',
      'a/b@../c',
      'a/b/',
    ]) {
      it(`is INVALID_ARGUMENT if it cannot be: '${name}'`, async () => {
        await assert.rejects(pull(name), failure('INVALID_ARGUMENT', /Expected/))
        assert.deepEqual(hub.asked, [])
      })
    }
  })

  describe('access', () => {
    it('to a gated repository: ACCESS_DENIED says how to get it', async () => {
      hub.misbehave = (request, response) => {
        if (!request.url?.includes('/resolve/')) return false
        response.writeHead(401, { 'x-error-code': 'GatedRepo' }).end()
        return true
      }
      await assert.rejects(
        pull(`${repo}/${file}`),
        failure('ACCESS_DENIED', new RegExp(`Accept it at ${hub.address}/${repo},.*HF_TOKEN`)),
      )
    })

    it('with a token that is not good is ACCESS_DENIED', async () => {
      process.env.HF_TOKEN = 'hf_wrong'
      hub.misbehave = (_, response) => {
        response.writeHead(401).end()
        return true
      }
      await assert.rejects(pull(`${repo}/${file}`), failure('ACCESS_DENIED', /the token/))
    })

    for (const [where, give] of [
      ['HF_TOKEN', () => void (process.env.HF_TOKEN = 'hf_secret')],
      ["Python's login", () => writeFile(path.join(home, 'token'), 'hf_secret\n')],
    ] as const) {
      it(`with a token from ${where}, which the hub sees and the storage does not`, async () => {
        await give()
        await pull(`${repo}/${file}`)
        const seenBy = (who: string) =>
          new Set(hub.asked.filter(({ from }) => from === who).map((each) => each.authorization))
        assert.deepEqual([...seenBy('hub')], ['Bearer hf_secret'])
        assert.deepEqual([...seenBy('storage')], [undefined])
      })
    }

    it('with a token, which a listing that goes on elsewhere does not carry off', async () => {
      process.env.HF_TOKEN = 'hf_secret'
      hub.add(repo, { a: 'a', b: 'b', [file]: content })
      hub.changeNext = (address) => address.replace(hub.address, hub.storageAddress)
      storage((response) => response.end('[]'))
      await assert.rejects(pull(`${repo}/${file}`), failure('MODEL_NOT_FOUND', /no file/))
      const { from, authorization } = hub.asked.at(-1)!
      assert.deepEqual([from, authorization], ['storage', undefined])
    })

    it('without a token sends none', async () => {
      await pull(`${repo}/${file}`)
      assert.ok(hub.asked.every(({ authorization }) => authorization === undefined))
    })
  })

  describe('stopping', () => {
    it('rejects with the reason and leaves a part that the next pull takes up', async () => {
      storage((response) => {
        response.setHeader('content-length', content.length)
        response.write(content.subarray(0, 100_000))
        setTimeout(() => response.write(content.subarray(100_000, 200_000)), 200) // and nothing more
      })
      const reason = new Error('enough')
      const stop = new AbortController()
      const onProgress = ({ bytes }: { bytes: number }) => bytes > 0 && stop.abort(reason)
      const pulling = pull(`${repo}/${file}`, { signal: stop.signal, onProgress })
      await assert.rejects(pulling, (error) => error === reason)

      const there = (await lstat(incomplete())).size
      assert.ok(there > 0 && there <= 200_000)
      hub.reset()
      assert.equal((await pull(`${repo}/${file}`)).downloadedBytes, content.length - there)
    })

    for (const [when, bytes] of [
      ['at once', 0],
      ['when all is there', content.length],
    ] as const) {
      it(`by what onProgress throws ${when} rejects with that`, async () => {
        const onProgress = (event: { bytes: number }) => {
          if (event.bytes === bytes) throw 'no more'
        }
        const pulling = pull(`${repo}/${file}`, { onProgress })
        await assert.rejects(pulling, (error) => error === 'no more')
      })
    }

    it('while waiting for another pull of the same file', async () => {
      const pulling: ServerResponse[] = []
      storage((response) => void pulling.push(response))
      const [first, second] = [new AbortController(), new AbortController()]
      const one = pull(`${repo}/${file}`, { signal: first.signal })
      const other = pull(`${repo}/${file}`, { signal: second.signal })
      while (pulling.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
      second.abort('second')
      first.abort('first')
      await assert.rejects(one, (error) => error === 'first')
      await assert.rejects(other, (error) => error === 'second')
    })
  })

  describe('a diffusers folder', () => {
    const networks = {
      'text_encoder/config.json': '{}',
      'text_encoder/model.safetensors': 't',
      'unet/config.json': '{}',
      'unet/diffusion_pytorch_model.safetensors': 'u',
      'vae/config.json': '{}',
      'vae/diffusion_pytorch_model.safetensors': 'v',
    }
    const folder = {
      'model_index.json': '{"a":1}',
      'scheduler/scheduler_config.json': '{"b":1}',
      'tokenizer/vocab.json': '{}',
      'safety_checker/model.safetensors': 's',
      ...networks,
    }

    it('comes without what mixing does not need', async () => {
      hub.add(repo, folder)
      const { path: place, files } = await pull(repo)
      assert.equal(place, cached('snapshots', commit))
      const expected = [
        'model_index.json',
        'scheduler/scheduler_config.json',
        ...Object.keys(networks),
      ]
      assert.deepEqual(files.sort(), expected.sort())
      assert.equal(
        await readFile(path.join(place, 'unet/diffusion_pytorch_model.safetensors'), 'utf8'),
        'u',
      )
    })

    it('comes in half precision where it is so, in shards too, and as pickles at worst', async () => {
      hub.add(repo, {
        'model_index.json': '{}',
        'text_encoder/pytorch_model.bin': 't',
        'text_encoder/model.safetensors.index.json': '{}', // with a shard too few
        'text_encoder/model-00001-of-00002.safetensors': 't1',
        'unet/diffusion_pytorch_model.safetensors': 'u',
        'unet/diffusion_pytorch_model.bin': 'u',
        'unet/diffusion_pytorch_model.fp16.safetensors': 'u',
        'vae/diffusion_pytorch_model.safetensors': 'v',
        'vae/diffusion_pytorch_model.safetensors.index.fp16.json': '{}',
        'vae/diffusion_pytorch_model-00001-of-00002.fp16.safetensors': 'v1',
        'vae/diffusion_pytorch_model-00002-of-00002.fp16.safetensors': 'v2',
      })
      assert.deepEqual((await pull(repo)).files, [
        'model_index.json',
        'text_encoder/pytorch_model.bin',
        'unet/diffusion_pytorch_model.fp16.safetensors',
        'vae/diffusion_pytorch_model.safetensors.index.fp16.json',
        'vae/diffusion_pytorch_model-00001-of-00002.fp16.safetensors',
        'vae/diffusion_pytorch_model-00002-of-00002.fp16.safetensors',
      ])
    })

    it('of XL comes with both text encoders, in half precision, and what its tokenizers say', async () => {
      const weights = {
        'text_encoder/model': 't',
        'text_encoder_2/model': 'g',
        'unet/diffusion_pytorch_model': 'u',
        'vae/diffusion_pytorch_model': 'v',
      }
      const half = Object.keys(weights).map((name) => `${name}.fp16.safetensors`)
      const others = ['', '.non_ema'].flatMap((variant) =>
        Object.keys(weights).map((name) => `${name}${variant}.safetensors`),
      )
      const configs = Object.keys(weights).map((name) => `${path.dirname(name)}/config.json`)
      const tokenizers = ['tokenizer', 'tokenizer_2'].flatMap((name) => [
        `${name}/tokenizer_config.json`,
        `${name}/special_tokens_map.json`,
      ])
      const wanted = ['model_index.json', ...tokenizers, ...configs, ...half]
      const unwanted = [
        ...others,
        'tokenizer_2/merges.txt',
        'vae_1_0/diffusion_pytorch_model.fp16.safetensors',
        'sd_xl_base_1.0.safetensors',
      ]
      hub.add(repo, Object.fromEntries([...wanted, ...unwanted].map((name) => [name, '{}'])))
      assert.deepEqual((await pull(repo)).files.sort(), wanted.sort())
    })

    it('of XL without weights in its second text encoder is told', async () => {
      hub.add(repo, { ...folder, 'text_encoder_2/config.json': '{}' })
      await assert.rejects(pull(repo), failure('MODEL_NOT_FOUND', /no weights in text_encoder_2\//))
    })

    it('takes what Python has downloaded, even if the hub has something smaller', async () => {
      hub.add(repo, { ...folder, 'unet/diffusion_pytorch_model.fp16.safetensors': 'h' })
      await layOut(folder)
      const { downloadedBytes, files } = await pull(repo)
      assert.equal(downloadedBytes, 0)
      assert.ok(files.includes('unet/diffusion_pytorch_model.safetensors'))
      assert.deepEqual(hub.downloads, [])
    })

    it('is found in the cache, and only there, with HF_HUB_OFFLINE', async () => {
      process.env.HF_HUB_OFFLINE = '1'
      await assert.rejects(pull(repo), failure('MODEL_NOT_FOUND', /HF_HUB_OFFLINE/))
      await layOut(folder)
      assert.equal((await pull(repo)).path, cached('snapshots', commit))
      await assert.rejects(pull(`${repo}/other`), failure('MODEL_NOT_FOUND', /HF_HUB_OFFLINE/))
      assert.deepEqual(hub.asked, [])
    })

    it('is not used offline if a part of it is missing', async () => {
      process.env.HF_HUB_OFFLINE = '1'
      await layOut(folder)
      await rm(cached('snapshots', commit, 'vae'), { recursive: true })
      await assert.rejects(pull(repo), failure('MODEL_NOT_FOUND', /not wholly/))
    })

    /** Puts files into the cache in the way of Python's huggingface_hub. */
    async function layOut(files: Record<string, string>): Promise<void> {
      await mkdir(cached('refs'), { recursive: true })
      await mkdir(cached('blobs'), { recursive: true })
      await writeFile(cached('refs', 'main'), commit)
      for (const [name, text] of Object.entries(files)) {
        const place = cached('snapshots', commit, name)
        const blob = cached('blobs', hub.repos.get(repo)?.get(name)?.etag ?? name.replace('/', '-'))
        await writeFile(blob, text)
        await mkdir(path.dirname(place), { recursive: true })
        await symlink(path.relative(path.dirname(place), blob), place)
      }
    }
  })

  describe('to the end', () => {
    const options = { model: 'hf:sd1.5', precision: 'f32', threads: 1 } as const
    const sd15 = 'stable-diffusion-v1-5/stable-diffusion-v1-5'
    const bin = path.join(packageRoot, 'dist', 'cli', 'main.js')
    beforeEach(async () => {
      await hub.addFolder(sd15, await tinyDiffusers())
    })

    it('loads a model of the hub, then from the cache without a request', async () => {
      const stages = new Set<string>()
      const onProgress = ({ stage }: LoadProgressEvent) => void stages.add(stage)
      const mixed = await mixWith(options.model, onProgress)
      assert.deepEqual([...stages], ['download', 'load'])

      hub.asked = []
      stages.clear()
      assert.deepEqual(await mixWith(options.model, onProgress), mixed)
      assert.deepEqual([...stages], ['load'])
      assert.deepEqual(hub.asked, [])
      // the very pixels that the folder itself gives
      assert.deepEqual(await mixWith(await tinyDiffusers()), mixed)
    })

    it('loads XL by its short name, in half precision, and resumes a part of it', async () => {
      const xl = 'stabilityai/stable-diffusion-xl-base-1.0'
      const model = await tinyXlDiffusers({ variant: '.fp16' })
      await hub.addFolder(xl, model)
      hub.repos.get(xl)!.set('unet/diffusion_pytorch_model.safetensors', {
        ...{ bytes: 1e9, etag: '0'.repeat(64), isLarge: true, content: Buffer.alloc(0) },
      })
      const large = 'text_encoder_2/model.fp16.safetensors'
      const { etag, bytes, content } = hub.repos.get(xl)!.get(large)!
      const blobs = path.join(home, 'hub', `models--${xl.replace('/', '--')}`, 'blobs')
      await mkdir(blobs, { recursive: true })
      await writeFile(path.join(blobs, `${etag}.incomplete`), content.subarray(0, bytes / 2))
      const pulled = await pull('sdxl')
      assert.equal(pulled.license?.name, 'CreativeML Open RAIL++-M')
      const all = [...hub.repos.get(xl)!.values()].reduce((sum, file) => sum + file.bytes, -1e9)
      assert.equal(pulled.downloadedBytes, all - bytes / 2)
      assert.deepEqual(await mixWith('hf:sdxl'), await mixWith(model))
    })

    it('has licences for all short names', () => {
      assert.deepEqual(Object.keys(shortNames).sort(), [
        ...['sd1.4', 'sd1.5', 'sd2.1', 'sdxl', 'sdxl-turbo'],
      ])
      for (const { repo, license } of Object.values(shortNames)) {
        assert.match(repo, /^[\w.-]+\/[\w.-]+$/)
        assert.match(license.url, /^https:\/\//)
        assert.ok(license.name)
      }
      assert.equal(shortNames['sdxl-turbo']!.license.name, 'sai-nc-community')
    })

    async function mixWith(model: string, onProgress?: (event: LoadProgressEvent) => void) {
      await using mixer = await MagicMix.load({ ...options, model, onProgress })
      return (await mixer.mix({ ...smallRequest, steps: 2 })).data
    }

    it('stops loading in the middle of the download', async () => {
      const stop = new AbortController()
      const onProgress = () => stop.abort('enough')
      const loading = MagicMix.load({ ...options, signal: stop.signal, onProgress })
      await assert.rejects(loading, (error) => error === 'enough')
    })

    it('works on the command line, licence first', async () => {
      const { code, stdout, stderr } = await runNode([bin, 'pull', 'sd1.5'], home)
      const place = path.join(
        home,
        'hub',
        `models--${sd15.replace('/', '--')}`,
        'snapshots',
        commit,
      )
      assert.equal(code, 0, stderr)
      assert.ok(stdout.startsWith(`${place}\n`))
      assert.match(stdout, /magicmix mix LAYOUT CONTENT --model hf:sd1\.5/)
      const [first, ...more] = stderr.split('\n')
      assert.match(String(first), /^stable-diffusion-v1-5\/.*licence CreativeML OpenRAIL-M, https:/)
      assert.match(more.join('\n'), /^downloading 0 B\/.* MiB\ndownloading .* MiB\/.* MiB/)

      const again = await runNode([bin, 'pull', 'sd1.5', '--json'], home)
      const { path: found, downloadedBytes } = JSON.parse(again.stdout) as Record<string, unknown>
      assert.deepEqual([found, downloadedBytes, again.stderr], [place, 0, ''])

      const inspected = await runNode([bin, 'inspect', 'hf:sd1.5', '--json'], home)
      assert.equal((JSON.parse(inspected.stdout) as { path: string }).path, place)
    })

    it('says on the command line what is wrong', async () => {
      const { code, stdout, stderr } = await runNode([bin, 'pull', 'nobody/nothing'], home)
      assert.deepEqual([code, stdout], [1, ''])
      assert.match(stderr, /^magicmix: nobody\/nothing: .*\(MODEL_NOT_FOUND\)\n$/)
    })
  })

  describe('what is added to a model', () => {
    const lora = 'somebody/style'
    const place = (name: string, ...parts: string[]) =>
      path.join(home, 'hub', `models--${name.replace('/', '--')}`, 'snapshots', commit, ...parts)
    const usual: Record<string, [kind: ModelKind, files: string[], path: string, more: string[]]> =
      {
        'a LoRA of diffusers': [
          'lora',
          ['pytorch_lora_weights.safetensors'],
          'pytorch_lora_weights.safetensors',
          ['README.md', 'checkpoint-500/model.safetensors', 'other.safetensors'],
        ],
        'a LoRA of PEFT': [
          'lora',
          ['adapter_config.json', 'adapter_model.safetensors'],
          'adapter_model.safetensors',
          ['adapter_model.bin', 'training_args.bin'],
        ],
        'a LoRA under a name of its own': [
          'lora',
          ['style.safetensors'],
          'style.safetensors',
          ['a.png', 'checkpoint-500/optimizer.bin', 'checkpoint-500/model.safetensors'],
        ],
        'an embedding': ['embedding', ['learned_embeds.bin'], 'learned_embeds.bin', ['a.jpeg']],
        'an embedding in both formats': [
          'embedding',
          ['learned_embeds.safetensors'],
          'learned_embeds.safetensors',
          ['learned_embeds.bin'],
        ],
        'an embedding under a name of its own': ['embedding', ['style.pt'], 'style.pt', ['a.md']],
        'a VAE of diffusers': [
          'vae',
          ['config.json', 'diffusion_pytorch_model.safetensors'],
          '',
          ['diffusion_pytorch_model.bin'],
        ],
        'the VAE of a model': [
          'vae',
          ['vae/config.json', 'vae/diffusion_pytorch_model.safetensors'],
          'vae',
          ['model_index.json', 'unet/diffusion_pytorch_model.safetensors', 'all.safetensors'],
        ],
        'a tiny decoder of diffusers': [
          'tinyDecoder',
          ['config.json', 'diffusion_pytorch_model.safetensors'],
          '',
          ['taesd_decoder.safetensors', 'taesd_encoder.safetensors'],
        ],
        'a tiny decoder under its own name': [
          'tinyDecoder',
          ['taesd_decoder.pth'],
          'taesd_decoder.pth',
          ['taesd_encoder.pth', 'taesdxl_decoder.pth', 'taesd.py'],
        ],
        'a VAE in one file': ['vae', ['vae.safetensors'], 'vae.safetensors', ['vae.ckpt']],
      }
    for (const [what, [kind, files, at, more]] of Object.entries(usual)) {
      it(`comes by the name of its repository: ${what}`, async () => {
        hub.add(lora, Object.fromEntries([...more, ...files].map((name) => [name, name])))
        const pulled = await pull(lora, { kind })
        assert.deepEqual([pulled.path, pulled.files], [place(lora, at), files])
        // the second time nothing is asked for, and offline not either
        hub.asked = []
        const names = [lora, `${lora}@main`].map((name) => resolveModel(`hf:${name}`, {}, kind))
        assert.deepEqual(new Set(await Promise.all(names)), new Set([pulled.path]))
        process.env.HF_HUB_OFFLINE = '1'
        assert.equal((await pull(lora, { kind })).path, pulled.path)
        assert.deepEqual(hub.asked, [])
      })
    }

    it('is named where there are several, and the configuration comes along', async () => {
      hub.add(lora, {
        'a.safetensors': 'a',
        'b.safetensors': 'b',
        'sub/adapter_model.safetensors': 's',
        'sub/adapter_config.json': '{}',
      })
      const several =
        /a\.safetensors, b\.safetensors; name one, such as 'hf:somebody\/style\/a\.saf/
      await assert.rejects(pull(lora, { kind: 'lora' }), failure('MODEL_NOT_FOUND', several))
      assert.deepEqual(hub.downloads, [])
      for (const [name, files] of [
        ['b.safetensors', ['b.safetensors']],
        ['sub', ['sub/adapter_config.json', 'sub/adapter_model.safetensors']],
        [
          'sub/adapter_model.safetensors',
          ['sub/adapter_config.json', 'sub/adapter_model.safetensors'],
        ],
      ] as const) {
        assert.deepEqual((await pull(`${lora}/${name}`, { kind: 'lora' })).files, files)
      }

      // What was named before is not taken for the only one, unless there is nobody to ask.
      const whole = resolveModel(`hf:${lora}`, {}, 'lora')
      await assert.rejects(whole, failure('MODEL_NOT_FOUND', several))
    })

    const wrong: [what: string, kind: ModelKind, files: string[], message: RegExp][] = [
      [
        'a repository without one',
        'lora',
        ['a.md'],
        /no LoRA: it would be in pytorch_lora_weights/,
      ],
      [
        'a whole model',
        'lora',
        ['model_index.json', 'unet/x.safetensors'],
        /a whole model.*not a LoRA/,
      ],
      ['no embedding', 'embedding', ['a.md'], /no embedding.*learned_embeds\.safetensors/],
      ['no VAE', 'vae', ['a.md'], /no VAE: .*\.safetensors/],
      ['no tiny decoder', 'tinyDecoder', ['a.md'], /no tiny decoder: .*taesd_decoder\.safetensors/],
      [
        'a model for Flax',
        'model',
        ['model_index.json', 'text_encoder/flax_model.msgpack'],
        /no weights in text_encoder\/.*flax_model\.msgpack, weights of Flax/,
      ],
    ]
    for (const [what, kind, files, message] of wrong) {
      it(`is MODEL_NOT_FOUND: ${what}`, async () => {
        hub.add(lora, Object.fromEntries(files.map((name) => [name, name])))
        await assert.rejects(pull(lora, { kind }), failure('MODEL_NOT_FOUND', message))
      })
    }

    it('is loaded and mixed with by its name, which the recipe keeps', async () => {
      const { file: loraFile, embedding } = await addedFiles(home)
      hub.add(lora, { 'pytorch_lora_weights.safetensors': await readFile(loraFile) })
      hub.add('somebody/toy', { 'learned_embeds.safetensors': await readFile(embedding) })
      const model = await tinyModel('F32')
      const repos = new Set<string>()
      const options = { model, config: tinyHeads, precision: 'f32', threads: 1 } as const
      const request = { ...smallRequest, steps: 2 }
      const prompts = { ...request, content: 'a <toy>' }
      await using here = await MagicMix.load({
        ...options,
        ...{ embeddings: { '<toy>': embedding }, loras: [{ file: loraFile }] },
      })
      const expected = await here.mix(prompts)

      await using mixer = await MagicMix.load({
        ...options,
        ...{ embeddings: { '<toy>': 'hf:somebody/toy' }, loras: [{ file: `hf:${lora}` }] },
        onProgress: (event) => event.stage === 'download' && repos.add(event.repo),
      })
      assert.deepEqual(repos, new Set(['somebody/toy', lora]))
      const mix = await mixer.mix(prompts)
      assert.deepEqual(mix.data, expected.data)
      assert.deepEqual(mix.request.loras, [{ file: `hf:${lora}`, strength: 1 }])
      assert.deepEqual((mix.toJSON().request as { loras: unknown }).loras, mix.request.loras)

      await rm(path.join(home, 'hub'), { recursive: true })
      const stages: string[] = []
      const again = await mixer.mix({
        ...{ ...prompts, loras: [{ file: `hf:${lora}` }] },
        onProgress: ({ stage, download }) => stages.push(`${stage} ${download?.repo}`),
      })
      assert.deepEqual(again.data, expected.data)
      assert.equal(stages[0], `download ${lora}`)
    })

    it('stops a mix in the middle of its download, by signal and by disposal', async () => {
      hub.add(lora, { 'pytorch_lora_weights.safetensors': content })
      const mixer = await MagicMix.load({ model: await tinyModel(), config: tinyHeads, threads: 1 })
      storage((response) => void response.writeHead(200).write(content.subarray(0, 1000)))
      const stop = new AbortController()
      const request = { ...smallRequest, loras: [{ file: `hf:${lora}` }] }
      const onProgress = ({ download }: ProgressEvent) => download && stop.abort('enough')
      const stopped = mixer.mix({ ...request, signal: stop.signal, onProgress })
      await assert.rejects(stopped, (error) => error === 'enough')

      const thrown = mixer.mix({
        ...request,
        onProgress: () => {
          throw 'no more'
        },
      })
      await assert.rejects(thrown, (error) => error === 'no more')

      const disposed = mixer.mix({ ...request, onProgress: () => void mixer.dispose() })
      await assert.rejects(disposed, failure('DISPOSED', /disposed/))
    })
  })

  describe('to the file that convert reads', () => {
    it('comes too', async () => {
      await hub.addFolder('somebody/whole', await tinyDiffusers())
      const stages = new Set<string>()
      const output = path.join(home, 'out.gguf')
      const onProgress = ({ stage }: ConvertProgressEvent) => void stages.add(stage)
      await convert({ input: 'hf:somebody/whole', output, onProgress })
      assert.deepEqual([...stages], ['download', 'convert'])
      await access(output)
    })
  })

  /** Answers all requests for large content otherwise. */
  function storage(answer: (response: ServerResponse) => void): void {
    hub.misbehave = (_, response, from) => {
      if (from === 'storage') answer(response)
      return from === 'storage'
    }
  }

  /** Breaks the connection after so many bytes, so many times; gives how many were sent in all. */
  function breakAfter(bytes: number, times: number): () => number {
    let sent = 0
    const misbehave: Misbehaviour = (request, response, from) => {
      if (from !== 'storage') return false
      const start = Number(/\d+/.exec(request.headers.range ?? '0')?.[0])
      const end = times-- > 0 ? start + bytes : content.length
      sent += Math.min(end, content.length) - start
      response.writeHead(start > 0 ? 206 : 200, {
        'content-length': content.length - start,
        'content-range': `bytes ${start}-${content.length - 1}/${content.length}`,
      })
      response.write(content.subarray(start, end), () => setTimeout(() => response.destroy(), 50))
      return true
    }
    hub.misbehave = misbehave
    return () => sent
  }
})

function failure(code: string, message: RegExp) {
  return (error: unknown): true => {
    assert.ok(error instanceof MagicMixError, String(error))
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    return true
  }
}
