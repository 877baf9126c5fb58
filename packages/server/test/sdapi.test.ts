/** /sdapi/v1, called as clients of the AUTOMATIC1111 web UI do. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import path from 'node:path'

import { readRecipe } from 'magicmix'
import sharp from 'sharp'

import { Client, type Served, served, small } from './support/served.js'

const heart = path.join(__dirname, '..', '..', '..', 'models', 'layouts', 'heart.png')
const { content, steps } = small

/** What such clients read of an answer. */
interface Made {
  images: string[]
  parameters: object
  info: string
}
interface Progress {
  progress: number
  eta_relative: number
  state: { sampling_step: number; sampling_steps: number; interrupted: boolean; job_count: number }
  current_image: string | null
}
interface Refusal {
  error: string
  detail: string
}

/** With the fields that such clients send whatever they ask for, as far as they stand for nothing. */
const usual = {
  ...{ negative_prompt: '', styles: [], subseed: -1, subseed_strength: 0, seed_resize_from_h: -1 },
  ...{ seed_resize_from_w: -1, batch_size: 1, n_iter: 1, restore_faces: false, tiling: false },
  ...{ do_not_save_samples: false, do_not_save_grid: false, s_churn: 0, s_noise: 1, s_tmin: 0 },
  ...{ override_settings: {}, override_settings_restore_afterwards: true, script_args: [] },
  ...{ sampler_index: 'DDIM', script_name: '', send_images: true, save_images: false },
  ...{ alwayson_scripts: {}, enable_hr: false, hr_scale: 2, hr_upscaler: '', comments: null },
}

describe('the API of the AUTOMATIC1111 web UI', () => {
  let place: Served & { end(): Promise<void> }
  let client: Client
  before(async () => {
    place = await served()
    client = new Client(place.address)
  })
  after(() => place.end())

  const post = <T = Made>(name: string, body: object) =>
    client.send<T>('POST', `/sdapi/v1/${name}`, body)
  const get = <T>(name: string) => client.send<T>('GET', `/sdapi/v1/${name}`)
  const script = (options: object) => ({ magicmix: { args: [options] } })

  it('txt2img: the prompt is layout and content, or the script has the layout', async () => {
    const asked = {
      ...usual,
      prompt: content,
      steps,
      seed: 7,
      width: 128,
      height: 128,
      cfg_scale: 5,
    }
    const { status, body } = await post('txt2img', { ...asked, batch_size: 2 })
    assert.equal(status, 200)
    const own = await place.mixer.mix({
      ...{ layout: { prompt: content }, content, steps, seed: 8, guidanceScale: 5 },
      ...{ width: 128, height: 128, sampler: 'ddim' },
    })
    const pixels = (base64 = '') => sharp(Buffer.from(base64, 'base64')).raw().toBuffer()
    assert.deepEqual(await pixels(body.images[1]), Buffer.from(own.data))
    const info = JSON.parse(body.info) as { all_seeds: number[]; infotexts: string[] }
    assert.deepEqual(info.all_seeds, [7, 8])
    assert.match(info.infotexts[0] ?? '', /Seed: 7/)
    assert.equal((body.parameters as { steps: number }).steps, steps)

    const alwayson_scripts = script({ layout: small.layout.prompt, kMin: 0.2, nu: 0.5 })
    const mixed = await post('txt2img', { ...asked, cfg_scale: null, alwayson_scripts })
    const other = await place.mixer.mix({ ...small, kMin: 0.2, nu: 0.5, width: 128, height: 128 })
    assert.deepEqual(await pixels(mixed.body.images[0]), Buffer.from(other.data))
  })

  it('img2img: the picture is the layout, denoising_strength is kMax', async () => {
    const file = await readFile(heart)
    const image = `data:image/png;base64,${file.toString('base64')}`
    const asked = { ...usual, prompt: content, steps, seed: 3, init_images: [image] }
    const img = { denoising_strength: 0.75, resize_mode: 1, mask: null, mask_blur: 4 }
    const { body } = await post('img2img', {
      ...{ ...asked, ...img, inpainting_fill: 0, inpaint_full_res: false, image_cfg_scale: null },
      ...{ sampler_name: 'Euler a', override_settings: { sd_model_checkpoint: 'default' } },
    })
    const picture = Buffer.from(body.images[0] ?? '', 'base64')
    const own = await place.mixer.mix({
      ...{ layout: file, content, steps, seed: 3, kMax: 0.75, sampler: 'euler_a', fit: 'cover' },
    })
    assert.deepEqual(await sharp(picture).raw().toBuffer(), Buffer.from(own.data))
    assert.equal((await readRecipe(picture)).request.kMax, 0.75)

    // What is black in a mask stays.
    const left = await sharp({
      create: { width: 64, height: 128, channels: 3, background: '#000' },
    })
      .extend({ right: 64, background: '#fff' })
      .png()
      .toBuffer()
    const masked = await post('img2img', {
      ...{ ...asked, denoising_strength: 0.75, mask: left.toString('base64') },
    })
    const mapped = await place.mixer.mix({
      ...{ layout: file, content, steps, seed: 3, kMax: 0.75, fit: 'cover', kMaxMap: left },
    })
    const bytes = Buffer.from(masked.body.images[0] ?? '', 'base64')
    assert.deepEqual(await sharp(bytes).raw().toBuffer(), Buffer.from(mapped.data))

    const read = await post<{ info: string; items: { magicmix: string } }>('png-info', {
      image: picture.toString('base64'),
    })
    assert.match(read.body.info, /^a photo of a lemon\n.*Seed: 3/s)
    assert.equal(
      (JSON.parse(read.body.items.magicmix) as { made: object }).made !== undefined,
      true,
    )
    const plain = await post<{ info: string; items: object }>('png-info', { image })
    assert.deepEqual(plain.body, { info: '', items: {}, parameters: {} })
  })

  it('another seed each time for -1', async () => {
    const asked = { ...usual, prompt: content, steps: 2, seed: -1, n_iter: 2 }
    const { body } = await post('txt2img', asked)
    const { all_seeds } = JSON.parse(body.info) as { all_seeds: number[] }
    assert.equal(new Set(all_seeds).size, 2)
  })

  it('tells how far it is, and is interrupted', async () => {
    const idle = await get<Progress>('progress')
    assert.deepEqual([idle.body.progress, idle.body.state.job_count], [0, 0])
    const long = { ...usual, prompt: content, steps: 150, width: 256, height: 256, seed: 1 }
    const alwayson_scripts = script({ kMax: 1 })
    const made = post('txt2img', { ...long, denoising_strength: 0, alwayson_scripts })
    let latest: Progress
    do {
      latest = (await get<Progress>('progress?skip_current_image=false')).body
      await new Promise((resolve) => setTimeout(resolve, 10))
    } while (latest.state.sampling_step < 2 || latest.current_image === null)
    assert.ok(latest.progress > 0 && latest.progress < 1)
    assert.equal(latest.state.sampling_steps > 2, true)
    assert.ok((await sharp(Buffer.from(latest.current_image, 'base64')).metadata()).width)
    assert.deepEqual([(await post('interrupt', {})).status, (await made).status], [200, 200])
    const { images, info } = (await made).body
    assert.deepEqual(images, [])
    assert.equal((JSON.parse(info) as { interrupted: boolean }).interrupted, true)
    assert.equal((await get<Progress>('progress')).body.state.job_count, 0)
    assert.equal((await client.send('POST', '/sdapi/v1/interrupt')).status, 200)
  })

  it('lists samplers, models and options', async () => {
    const samplers = (await get<{ name: string }[]>('samplers')).body.map(({ name }) => name)
    assert.ok(samplers.includes('DPM++ 2M Karras'))
    for (const sampler_name of samplers) {
      const { status } = await post('txt2img', {
        ...usual,
        prompt: content,
        steps: 4,
        sampler_name,
      })
      assert.equal(status, 200, sampler_name)
    }
    const models = (await get<{ title: string }[]>('sd-models')).body
    assert.deepEqual(models[0]?.title, 'default')
    const options = (await get<{ sd_model_checkpoint: string }>('options')).body
    assert.equal(options.sd_model_checkpoint, 'default')
    assert.equal((await post('options', { sd_model_checkpoint: 'other' })).status, 422)
  })

  it('refuses by name what it would not honour', async () => {
    for (const [body, code, detail] of [
      [{ tiling: true }, 'INVALID_ARGUMENT', /^tiling is not offered/],
      [{ enable_hr: true }, 'INVALID_ARGUMENT', /^enable_hr/],
      [{ stepz: 4 }, 'UNKNOWN_OPTION', /^stepz/],
      [{ styles: ['anime'] }, 'INVALID_ARGUMENT', /^styles/],
      [{ sampler_name: 'Heun' }, 'INVALID_ARGUMENT', /sampler_name/],
      [{ scheduler: 'Polyexponential' }, 'INVALID_ARGUMENT', /scheduler/],
      [{ override_settings: { sd_model_checkpoint: 'b' } }, 'MODEL_NOT_FOUND', /default/],
      [{ override_settings: { CLIP_stop_at_last_layers: 2 } }, 'INVALID_ARGUMENT', /CLIP_stop/],
      [{ alwayson_scripts: { controlnet: { args: [] } } }, 'UNKNOWN_OPTION', /controlnet/],
      [{ alwayson_scripts: script({ nu: 2 }) }, 'INVALID_ARGUMENT', /nu/],
      [
        { alwayson_scripts: script({ steps: 3 }), steps: 4 },
        'INVALID_ARGUMENT',
        /steps comes twice/,
      ],
      [
        { alwayson_scripts: script({ layout: { path: '/etc/passwd' } }) },
        'INVALID_ARGUMENT',
        /layout/,
      ],
      [{ batch_size: 5, n_iter: 5 }, 'INVALID_ARGUMENT', /batch_size times n_iter/],
      [{ cfg_scale: 'seven' }, 'INVALID_ARGUMENT', /guidanceScale/],
    ] as const) {
      const answer = await post<Refusal>('txt2img', { ...usual, prompt: content, ...body })
      assert.deepEqual([answer.status, answer.body.error], [422, code], JSON.stringify(body))
      assert.match(answer.body.detail, detail)
    }
    const asked = { ...usual, prompt: content }
    for (const init_images of [undefined, [], ['AAAA'], ['/etc/passwd'], [1]]) {
      assert.equal((await post('img2img', { ...asked, init_images })).status, 422)
    }
    assert.equal((await post('png-info', { image: 'AAAA' })).status, 422)
    assert.equal((await client.send('POST', '/sdapi/v1/txt2img', '{')).status, 400)
  })
})
