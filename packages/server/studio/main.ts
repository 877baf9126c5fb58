/** The studio, put together. */
import { Api, type Capabilities, type Job, Problem } from './api.js'
import { Archive, type Made } from './archive.js'
import { byId, make } from './dom.js'
import {
  type Draft,
  type Found,
  type ModelHere,
  type Recipe,
  Store,
  draftOf,
  formOf,
  stepsOf,
} from './draft.js'
import { clearError, clearErrors, describe, showError, showProblem } from './errors.js'
import { type Axis, Grid, isOfGrid } from './grid.js'
import { History } from './history.js'
import { Cancelled, type JobRun, duration, progressOf, runJob } from './job.js'
import { Layout, recipeIn } from './layout.js'
import { Methods } from './method.js'
import { Options } from './options.js'
import { Painter } from './painter.js'
import { RecipeDialog } from './recipes.js'
import { type Running, RunningJob } from './running.js'
import { Schedule } from './schedule.js'
import { stepsOfMix } from './schedule-steps.js'
import { Stage } from './stage.js'
import { chooseTheme } from './theme.js'
import { Words } from './words.js'

class Studio {
  private readonly stage: Stage
  private readonly history: History
  private readonly recipes = new RecipeDialog()
  private readonly layout: Layout
  private readonly grid: Grid
  private readonly kept: RunningJob
  private running: JobRun | undefined

  constructor(
    private readonly api: Api,
    private readonly store: Store,
    private readonly archive: Archive,
    private readonly server: Capabilities,
    private readonly models: readonly ModelHere[],
  ) {
    const schema = server.requests.mix
    const { properties = {} } = schema
    this.kept = new RunningJob(archive)
    this.stage = new Stage({
      cancel: () => this.running?.cancel(),
      showRecipe: (made) => this.openRecipe(made.recipe, made.picture, made),
      asLayout: ({ picture, recipe }) => this.layout.take(picture, String(recipe.request.content)),
      keepSeed: ({ recipe }) => {
        store.setOption('seed', recipe.request.seed)
        this.stage.say(`Seed ${String(recipe.request.seed)} is used from now on.`)
      },
    })
    this.history = new History(archive, (made) => this.stage.show(made))
    const painter = new Painter()
    this.layout = new Layout(api, store, 'nuMap' in properties, {
      paint: () => {
        const { picture, map } = store.draft
        if (!picture) return
        painter
          .show(picture.blob, map, (painted) => store.change({ map: painted }))
          .catch(() => showError('layout', 'This browser cannot show the picture.'))
      },
      openRecipe: (recipe, from) => this.openRecipe(recipe, from, this.found(recipe)),
    })
    new Words(api, store)
    new Schedule(store, properties.nu)
    new Methods(store, properties.method)
    new Options(store, schema, server.loras)
    const { cells = 100 } = server.limits
    this.grid = new Grid(api, store, schema, cells, async (picture, { picture: from, map }) => {
      const recipe = await recipeIn(api, picture)
      this.use(recipe, { picture: from, map })
      await this.keep({ picture, recipe, layout: withHash(from, recipe), map })
      this.stage.say('Its recipe is in the form: change it and mix.')
    })
    this.listen()
  }

  async start(): Promise<void> {
    this.offerModels()
    await this.history.refresh()
    void this.goOn()
  }

  private listen(): void {
    byId('form').addEventListener('submit', (event) => {
      event.preventDefault()
      void this.mix()
    })
    byId('make-grid').addEventListener('click', () => void this.mixGrid())
    const compare = byId('compare-methods')
    compare.hidden = this.grid.methods.length < 2
    compare.addEventListener('click', () => {
      this.grid.chooseMethods()
      void this.mixGrid()
    })
    byId('example').addEventListener('click', () => {
      this.store.change({
        kind: 'prompt',
        prompt: 'a photo of a watermelon',
        content: 'a photo of a lemon',
      })
      byId('mix').focus()
    })
    const file = byId<HTMLInputElement>('recipe-file')
    byId('open-recipe').addEventListener('click', () => file.click())
    file.addEventListener('change', () => {
      const [picture] = file.files ?? []
      file.value = ''
      if (picture) void this.openFile(picture)
    })
  }

  private async mix(): Promise<void> {
    if (this.running || !this.isComplete()) return
    const { draft } = this.store
    const steps = stepsOf(draft)
    const previewEvery = this.hasTinyDecoder() ? Math.ceil(steps / 8) : Math.ceil(steps / 50)
    const began = Date.now()
    await this.runMix({ draft, began }, async () => {
      const job = await this.api.post<Job>('v1/mixes', formOf(draft, { previewEvery }))
      await this.keepRunning(job, { draft, began, axes: null })
      return job
    })
  }

  private async runMix(
    { draft, began }: { draft: Draft; began: number },
    begin: () => Promise<Job>,
  ): Promise<void> {
    const { kMax, kMin, nu } = draft
    const steps = stepsOf(draft)
    const { before } = stepsOfMix(kMax, kMin, nu, steps)
    const layoutShare = draft.kind === 'prompt' ? (before / Math.max(1, steps)) * 0.98 : 0
    await this.run(
      runJob(this.api, begin, (event) => {
        if (event.event === 'preview') {
          const { mediaType, base64 } = event.data as Record<string, string>
          this.stage.preview(mediaType ?? '', base64 ?? '')
        } else if (event.event === 'progress') {
          const { fraction, text } = progressOf(event, layoutShare)
          this.stage.progress(fraction, text)
        }
      }),
      async ({ links, result }) => {
        const picture = await this.api.picture(links.picture ?? '')
        const recipe = result?.recipe as Recipe
        const layout = draft.kind === 'picture' ? draft.picture : null
        await this.keep({ picture, recipe, layout: withHash(layout, recipe), map: draft.map })
        const seed = String(recipe.request.seed)
        return `Mixed in ${duration(Date.now() - began)}, seed ${seed}.`
      },
    )
  }

  private async mixGrid(): Promise<void> {
    if (this.running || !this.isComplete()) return
    const axes = this.grid.chosen()
    if (!axes) return
    const { draft } = this.store
    await this.runGrid({ draft, axes }, async () => {
      const job = await this.api.post<Job>('v1/sweeps', this.grid.formOf(draft, axes))
      await this.keepRunning(job, { draft, axes, began: Date.now() })
      return job
    })
  }

  private async runGrid(
    what: { draft: Draft; axes: readonly Axis[] },
    begin: () => Promise<Job>,
  ): Promise<void> {
    const run = this.grid.run(what, begin, (fraction, text) => this.stage.progress(fraction, text))
    this.stage.showGrid()
    await this.run(run, async (job) => {
      await this.grid.offerSheet(job)
      return 'The grid is done. Choose a cell to go on from it.'
    })
  }

  private keepRunning({ links }: Job, what: Omit<Running, 'self'>): Promise<void> {
    return this.kept.keep({ ...what, self: links.self ?? '' })
  }

  /** The page was loaded again while it waited for a job. */
  private async goOn(): Promise<void> {
    const left = await this.kept.left()
    if (!left) return
    const { draft, axes } = left
    this.store.change(draft)
    const begin = () => this.api.get<Job>(left.self)
    if (axes) await this.runGrid({ draft, axes }, begin)
    else await this.runMix(left, begin)
  }

  /** A job on the stage, to its end. */
  private async run(
    run: JobRun,
    finish: (job: Awaited<JobRun['end']>) => Promise<string>,
  ): Promise<void> {
    this.running = run
    clearErrors()
    this.stage.begin()
    this.setBusy(true)
    try {
      this.stage.end(await finish(await run.end))
      await this.kept.forget()
    } catch (error) {
      // A server that does not answer may do so when the page is loaded again.
      if (!(error instanceof Problem) || error.status > 0) await this.kept.forget()
      this.stage.restore()
      if (error instanceof Cancelled) {
        this.stage.end('Cancelled.')
      } else {
        this.stage.end('')
        if (isOfGrid(error)) showError('vary', describe(error).message)
        else showProblem(error)
      }
    } finally {
      this.running = undefined
      this.setBusy(false)
    }
  }

  /** Says what is missing. */
  private isComplete(): boolean {
    clearErrors()
    const { kind, picture, prompt, content } = this.store.draft
    if (kind === 'picture' && !picture) {
      showError('layout', 'Give it a picture for the layout, or write a prompt for it.')
      byId('layout-file').focus()
      return false
    }
    if (kind === 'prompt' && prompt.trim() === '') {
      showError('layout', 'Say what the layout shows.')
      byId('layout-prompt').focus()
      return false
    }
    if (content.trim() === '') {
      showError('content', 'Say what it should become.')
      byId('content').focus()
      return false
    }
    return true
  }

  private setBusy(isBusy: boolean): void {
    const mix = byId<HTMLButtonElement>('mix')
    // It keeps the focus, which a disabled button would lose.
    mix.setAttribute('aria-disabled', String(isBusy))
    mix.textContent = isBusy ? 'Mixing…' : 'Mix'
    byId<HTMLButtonElement>('make-grid').setAttribute('aria-disabled', String(isBusy))
  }

  private async keep(made: Omit<Made, 'id' | 'at' | 'thumbnail'>): Promise<void> {
    this.stage.show(await this.archive.add(made))
    await this.history.refresh()
  }

  private openRecipe(
    recipe: Recipe,
    picture: Blob,
    found: Found | Pick<Made, 'layout' | 'map'>,
  ): void {
    const { map } = found
    const layout = 'layout' in found ? found.layout : found.picture
    this.recipes.show(recipe, picture, () => this.use(recipe, { picture: layout, map }))
  }

  private async openFile(picture: Blob): Promise<void> {
    try {
      const recipe = await recipeIn(this.api, picture)
      this.openRecipe(recipe, picture, this.found(recipe))
    } catch (error) {
      showError(undefined, describe(error).message)
    }
  }

  /** Pictures that a recipe only names, from earlier mixes. */
  private found(recipe: Recipe): Found {
    const { sha256 } = Object(recipe.request.layout) as { sha256?: unknown }
    return { picture: this.history.pictureOf(sha256), map: null }
  }

  private use(recipe: Recipe, found: Found): void {
    const { draft, left } = draftOf(recipe, found, {
      schema: this.server.requests.mix,
      models: this.models,
      loras: this.server.loras,
    })
    clearErrors()
    this.store.change(draft)
    if (left.length > 0) this.layout.say(...left.map((text) => make('p', {}, text)))
    else this.layout.say()
    this.stage.say('The recipe is in the form.')
  }

  private offerModels(): void {
    if (this.models.length < 2) return
    const select = byId<HTMLSelectElement>('model')
    byId('model-field').hidden = false
    for (const { id, isDefault } of this.models) {
      select.append(make('option', { value: id, selected: isDefault }, id))
    }
    select.addEventListener('change', () => {
      this.store.change({ model: select.value })
      clearError('model')
    })
    this.store.listen(({ model }) => {
      const usual = this.models.find(({ isDefault }) => isDefault)?.id ?? ''
      select.value = model ?? usual
    })
  }

  private hasTinyDecoder(): boolean {
    const { model } = this.store.draft
    const used = this.models.find(({ id, isDefault }) =>
      model === undefined ? isDefault : id === model,
    )
    return Boolean(used?.info?.tinyDecoder)
  }
}

/** The layout's picture with the name that the recipe has for it, so that others find it. */
function withHash(layout: Made['layout'], { request }: Recipe): Made['layout'] {
  const { sha256 } = Object(request.layout) as { sha256?: string }
  return layout && { ...layout, sha256 }
}

function askToken(message: string): Promise<string> {
  const dialog = byId<HTMLDialogElement>('token-dialog')
  const field = byId<HTMLInputElement>('token')
  const error = byId('token-error')
  error.hidden = message === ''
  error.textContent = message
  field.value = ''
  dialog.showModal()
  return new Promise((resolve) => {
    const keepOpen = (event: Event) => event.preventDefault()
    dialog.addEventListener('cancel', keepOpen)
    byId('token-form').addEventListener(
      'submit',
      () => {
        dialog.removeEventListener('cancel', keepOpen)
        resolve(field.value.trim())
      },
      { once: true },
    )
  })
}

async function start(): Promise<void> {
  chooseTheme()
  const api = new Api(askToken)
  try {
    const [server, models, archive] = await Promise.all([
      api.get<Capabilities>('v1/capabilities'),
      api.get<{ data: ModelHere[] }>('v1/models'),
      Archive.open(),
    ])
    await new Studio(api, new Store(), archive, server, models.data).start()
    document.documentElement.dataset.ready = ''
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    showError(undefined, error.message)
  }
}

void start()
