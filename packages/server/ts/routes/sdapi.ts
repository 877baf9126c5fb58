/** /sdapi/v1, as clients of the AUTOMATIC1111 web UI call it. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Mix, MagicMixError, readRecipe } from 'magicmix'
import sharp from 'sharp'

import type { Context } from '../context.js'
import { Problem, bug, noSuchModel, problemOf, unprocessable } from '../problem.js'
import { readBody } from '../request/body.js'
import { checkPicture, withBuffers } from '../request/pictures.js'
import {
  type Harmless,
  type Made,
  encoded,
  eventsOf,
  hungUp,
  isFields,
  madeBy,
  maskAsMap,
  ownOptions,
  refuseOthers,
  seedsOf,
  submitAll,
  together,
} from './foreign.js'

type Fields = Record<string, unknown>

/** Their names, and what they are here. */
const samplers: Readonly<Record<string, { sampler: string; spacing?: string }>> = {
  DDIM: { sampler: 'ddim' },
  Euler: { sampler: 'euler' },
  'Euler a': { sampler: 'euler_a' },
  'DPM++ 2M': { sampler: 'dpm++2m' },
  'DPM++ 2M Karras': { sampler: 'dpm++2m', spacing: 'karras' },
  LCM: { sampler: 'lcm' },
  TCD: { sampler: 'tcd' },
}

const resizing = ['fill', 'cover', 'contain'] as const

const nothing = [false, 0, '', 'empty'] as const
const harmless: Harmless = {
  // Where pictures are put, and what is shown of it.
  ...{ save_images: 'anything', do_not_save_samples: 'anything', do_not_save_grid: 'anything' },
  ...{ send_images: [true], include_init_images: [false], force_task_id: 'anything' },
  ...{ override_settings_restore_afterwards: 'anything', disable_extra_networks: 'anything' },
  comments: 'anything',
  // What is switched off.
  ...{ styles: ['empty'], tiling: nothing, restore_faces: nothing, enable_hr: nothing },
  ...{ subseed: 'anything', subseed_strength: [0], seed_resize_from_h: [-1, 0] },
  ...{ seed_resize_from_w: [-1, 0], seed_enable_extras: 'anything', script_name: ['', 'None'] },
  ...{ script_args: ['empty'], firstpass_image: [], firstphase_width: [0], firstphase_height: [0] },
  ...{ refiner_checkpoint: ['', 'None'], refiner_switch_at: 'anything', infotext: [''] },
  ...{ initial_noise_multiplier: [1], s_churn: [0], s_tmin: [0], s_tmax: [0], s_noise: [1] },
  s_min_uncond: [0],
  // Of what is switched off.
  ...{ hr_scale: 'anything', hr_upscaler: 'anything', hr_second_pass_steps: 'anything' },
  ...{ hr_resize_x: 'anything', hr_resize_y: 'anything', hr_prompt: 'anything' },
  ...{ hr_negative_prompt: 'anything', hr_checkpoint_name: 'anything' },
  ...{ hr_sampler_name: 'anything', hr_scheduler: 'anything', hr_additional_modules: 'anything' },
}
/** Of img2img: how a mask is filled in, which there is none of. */
const inpainting: Harmless = {
  ...{ mask_blur: 'anything', mask_blur_x: 'anything', mask_blur_y: 'anything' },
  ...{ inpainting_fill: 'anything', inpaint_full_res: [false, 0], mask_round: 'anything' },
  ...{ inpaint_full_res_padding: 'anything', image_cfg_scale: [], latent_mask: [] },
}
const harmlessSettings: Harmless = {
  ...{
    samples_format: 'anything',
    CLIP_stop_at_last_layers: [1],
    sd_vae: ['Automatic', 'None', ''],
  },
  ...{ eta_noise_seed_delta: [0], enable_pnginfo: [true], add_model_hash_to_info: 'anything' },
}

/** What one call asks for. */
interface Call {
  ids: string[]
  done: number
  /** Of the one that is made. */
  progress: Fields
  preview: string | null
  isInterrupted: boolean
  startedAt: number
}

export function sdapiRoutes(app: FastifyInstance, context: Context): void {
  /** In the order in which they came. */
  const calls = new Set<Call>()
  void app.register(
    (routes, _, done) => {
      routes.setErrorHandler(answerAsFastApi)
      const schema = { hide: true }
      routes.post('/txt2img', { schema }, async (request, reply) => {
        // Its strength is that of the second pass, which there is none of.
        const { prompt, denoising_strength: _, ...fields } = await fieldsOf(request, context)
        const { options, harmless: given } = commonOf(fields, context)
        refuseOthers(given, harmless)
        // Without a layout of its own the prompt is that, too.
        const layout = options.layout ?? { prompt: prompt ?? '' }
        return answer(reply, fields, { ...options, content: prompt ?? '', layout })
      })
      routes.post('/img2img', { schema }, async (request, reply) => {
        const { prompt, init_images, resize_mode, mask, ...rest } = await fieldsOf(request, context)
        const { inpainting_mask_invert, ...fields } = rest
        const { options, harmless: given } = commonOf(fields, context)
        refuseOthers(given, { ...harmless, ...inpainting })
        if (!Array.isArray(init_images) || init_images.length !== 1) {
          throw unprocessable('Expected one picture for init_images: it is the layout', {
            name: 'init_images',
          })
        }
        const fit = resize_mode == null ? undefined : resizing[resize_mode as 0]
        if (resize_mode != null && fit === undefined) {
          throw unprocessable('Expected 0, 1 or 2 for resize_mode', { name: 'resize_mode' })
        }
        const laidOut = {
          content: prompt ?? '',
          layout: encoded(init_images[0], 'init_images[0]'),
          fit,
          ...(mask == null ? {} : { kMaxMap: await mapOf(mask, inpainting_mask_invert === 1) }),
        }
        return answer(reply, fields, together(laidOut, options))
      })
      routes.post('/interrupt', { schema }, async () => {
        const [call] = calls
        if (call) {
          call.isInterrupted = true
          for (const id of call.ids) await context.jobs.cancel(id)
        }
        return {}
      })
      routes.get('/progress', { schema }, () => progressOf([...calls][0], calls.size))
      routes.get('/samplers', { schema }, () =>
        Object.entries(samplers).map(([name, { sampler, spacing }]) => ({
          ...{ name, aliases: spacing === undefined ? [sampler] : [] },
          options: spacing === undefined ? {} : { scheduler: spacing },
        })),
      )
      routes.get('/sd-models', { schema }, () =>
        context.models.names.map((name) => ({
          ...{ title: name, model_name: name, filename: name },
          ...{ hash: null, sha256: null, config: null },
        })),
      )
      routes.get('/options', { schema }, () => ({
        ...{ sd_model_checkpoint: context.models.byDefault, samples_format: 'png' },
        CLIP_stop_at_last_layers: 1,
      }))
      routes.post('/options', { schema }, () => {
        // They would be everybody's.
        const message = 'Options are not set here; send override_settings with the request'
        throw unprocessable(message, { name: 'options' })
      })
      routes.post('/png-info', { schema }, async (request) => {
        const { image, ...others } = await fieldsOf(request, context)
        refuseOthers(others, {})
        const bytes = withBuffers(encoded(image, 'image'), 'image') as Buffer
        await checkPicture({ name: 'image', bytes }, context.limits)
        return infoOf(bytes)
      })
      done()
    },
    { prefix: '/sdapi/v1' },
  )

  async function mapOf(mask: unknown, invert: boolean): Promise<{ bytes: string }> {
    const bytes = withBuffers(encoded(mask, 'mask'), 'mask') as Buffer
    const map = await maskAsMap(context, bytes, { name: 'mask', byAlpha: false, invert })
    return { bytes: map.toString('base64') }
  }

  async function answer(reply: FastifyReply, given: Fields, options: Fields): Promise<object> {
    const { batch_size, n_iter, seed } = given
    // Checked one by one: their product says nothing of a fraction.
    const batches = seedsOf(undefined, n_iter, 'n_iter').length
    const batch = seedsOf(undefined, batch_size, 'batch_size').length
    const first = seed == null || seed === -1 ? undefined : seed
    const own = options.seed ?? first
    const seeds = seedsOf(own, batches * batch, 'batch_size times n_iter')
    const gone = hungUp(reply)
    const submissions = seeds.map((seed) => ({
      fields: {
        ...options,
        previewEvery: options.previewEvery ?? 1,
        ...(seed === undefined ? {} : { seed }),
      },
    }))
    const jobs = await submitAll(context, submissions)
    const call: Call = {
      ...{ ids: jobs.map(({ id }) => id), done: 0, progress: {}, preview: null },
      ...{ isInterrupted: false, startedAt: Date.now() },
    }
    calls.add(call)
    try {
      const made: Made[] = []
      for (const id of call.ids) {
        for await (const { event, data } of eventsOf(context, id, gone)) {
          if (event === 'progress') call.progress = data
          if (event === 'preview') call.preview = String(data.base64)
        }
        if (call.isInterrupted && (await isCancelled(id))) break
        made.push(await madeBy(context, id))
        call.done++
      }
      const images = made.map(({ picture }) => picture.toString('base64'))
      return { images, parameters: given, info: JSON.stringify(await infoAbout(made, call)) }
    } catch (error) {
      for (const id of call.ids) await context.jobs.cancel(id)
      throw error
    } finally {
      calls.delete(call)
    }
  }

  async function isCancelled(id: string): Promise<boolean> {
    const job = await context.jobs.get(id)
    return job !== undefined && job !== 'gone' && job.status === 'cancelled'
  }
}

async function fieldsOf(request: FastifyRequest, { limits }: Context): Promise<Fields> {
  const { fields } = await readBody(request, { type: 'object' }, limits.bodyBytes)
  return fields
}

/** Options of ours, and what is left. */
function commonOf(fields: Fields, context: Context): { options: Fields; harmless: Fields } {
  const { negative_prompt, seed, steps, cfg_scale, width, height, sampler_name, ...others } = fields
  const { sampler_index, scheduler, denoising_strength, eta, batch_size, n_iter, ...more } = others
  const { override_settings, alwayson_scripts, ...harmless } = more
  const settings = ownOptions(override_settings, 'override_settings')
  const { sd_model_checkpoint: model, ...otherSettings } = settings
  refuseOthers(otherSettings, harmlessSettings)
  const options = together(
    {
      model: model ?? undefined,
      negativePrompt: negative_prompt ?? undefined,
      steps: steps ?? undefined,
      guidanceScale: cfg_scale ?? undefined,
      width: width ?? undefined,
      height: height ?? undefined,
      eta: eta ?? undefined,
      kMax: denoising_strength ?? undefined,
      ...samplerOf(sampler_name ?? sampler_index, scheduler),
    },
    scriptOf(alwayson_scripts),
  )
  const { names } = context.models
  if (typeof model === 'string' && !names.includes(model)) {
    const message = `There is no such model here; there are ${names.join(', ')}`
    throw noSuchModel(message, { name: 'sd_model_checkpoint' })
  }
  return { options, harmless }
}

function samplerOf(name: unknown, scheduler: unknown): Fields {
  const isNamed = (names: RegExp) => typeof scheduler === 'string' && names.test(scheduler)
  const isAutomatic = scheduler == null || isNamed(/^automatic$/i)
  if (!isAutomatic && !isNamed(/^karras$/i)) {
    throw unprocessable('Expected Automatic or Karras for scheduler', { name: 'scheduler' })
  }
  const spacing = isAutomatic ? {} : { spacing: 'karras' }
  if (name == null || name === '') return spacing
  const lower = typeof name === 'string' ? name.toLowerCase() : ''
  const key = Object.keys(samplers).find(
    (each) => each.toLowerCase() === lower || samplers[each]?.sampler === lower,
  )
  if (key === undefined) {
    const message = `Expected one of ${Object.keys(samplers).join(', ')} for sampler_name`
    throw unprocessable(message, { name: 'sampler_name' })
  }
  return { ...samplers[key], ...spacing }
}

/** `{ magicmix: { args: [options] } }`, the only script there is; others without arguments do nothing. */
function scriptOf(scripts: unknown): Fields {
  const { magicmix, ...others } = ownOptions(scripts, 'alwayson_scripts')
  for (const name of Object.keys(others)) {
    const message = `There is no script ${name.slice(0, 100)} here; there is magicmix`
    throw new Problem(422, 'UNKNOWN_OPTION', message, { option: `alwayson_scripts.${name}` })
  }
  const { args } = ownOptions(magicmix, 'alwayson_scripts.magicmix')
  const [options, ...more] = Array.isArray(args) ? (args as unknown[]) : [args]
  if (more.length > 0) {
    throw unprocessable('Expected one object of options for the args of magicmix', { name: 'args' })
  }
  const { layout, ...rest } = ownOptions(options, 'alwayson_scripts.magicmix.args[0]')
  return layout === undefined
    ? rest
    : { ...rest, layout: typeof layout === 'string' ? { prompt: layout } : layout }
}

function progressOf(call: Call | undefined, count: number): object {
  const { stage, step, steps, etaMs } = call?.progress ?? {}
  const total = call?.ids.length ?? 0
  const isMixing = stage === 'content' && typeof step === 'number' && typeof steps === 'number'
  const part = isMixing && Number(steps) > 0 ? Number(step) / Number(steps) : 0
  return {
    progress: call && total > 0 ? Math.min(1, (call.done + part) / total) : 0,
    eta_relative: typeof etaMs === 'number' ? etaMs / 1000 : 0,
    state: {
      ...{ skipped: false, interrupted: call?.isInterrupted ?? false, stopping_generation: false },
      job: call ? (stage ?? 'queued') : '',
      job_count: count,
      job_timestamp: call ? new Date(call.startedAt).toISOString() : '0',
      job_no: call?.done ?? 0,
      sampling_step: isMixing ? step : 0,
      sampling_steps: isMixing ? steps : 0,
    },
    current_image: call?.preview ?? null,
    textinfo: null,
  }
}

async function infoAbout(made: readonly Made[], { isInterrupted }: Call): Promise<object> {
  const results = made.map(({ job }) => (job.result ?? {}) as unknown as Mix)
  const texts = await Promise.all(made.map(({ picture }) => parametersIn(picture)))
  const [first] = results
  const { content, negativePrompt, steps, guidanceScale, sampler } = (first?.recipe.request ??
    {}) as Fields
  const [prompt, negative] = [content ?? '', negativePrompt ?? '']
  return {
    ...{ prompt, all_prompts: results.map(() => prompt), negative_prompt: negative },
    ...{ seed: first?.seed ?? -1, all_seeds: results.map(({ seed }) => seed) },
    ...{ width: first?.width ?? 0, height: first?.height ?? 0, steps, cfg_scale: guidanceScale },
    ...{ sampler_name: sampler, batch_size: made.length, sd_model_name: made[0]?.job.model },
    ...{ infotexts: texts, index_of_first_image: 0, interrupted: isInterrupted },
    magicmix: made.map(({ job }) => ({ id: job.id, model: job.model })),
  }
}

/** What a picture says of how it was made. */
async function infoOf(bytes: Buffer): Promise<object> {
  const parameters = await parametersIn(bytes)
  const items: Fields = parameters === '' ? {} : { parameters }
  try {
    items.magicmix = JSON.stringify(await readRecipe(bytes))
  } catch (error) {
    // Of others, or of nobody.
    const isNone = error instanceof MagicMixError && /^RECIPE_/.test(error.code)
    if (!isNone) throw error
  }
  return { info: parameters, items, parameters: {} }
}

async function parametersIn(bytes: Buffer): Promise<string> {
  const { comments = [] } = await sharp(bytes, { limitInputPixels: false }).metadata()
  return comments.find(({ keyword }) => keyword === 'parameters')?.text ?? ''
}

/** An error in the form that clients of that API read. */
function answerAsFastApi(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const { status, code, message, details, headers } = problemOf(error) ?? bug()
  if (status >= 500) request.log.error({ err: error }, 'failed')
  const body = {
    error: code,
    detail: message,
    errors: message,
    ...(isFields(details) ? { details } : {}),
  }
  return reply.code(status).headers(headers).send(body)
}
