/** The commands of the command line, in the order that they are listed in. */
import { command as build } from './build.js'
import type { Command } from './command.js'
import { command as compare } from './compare.js'
import { command as convert } from './convert.js'
import { command as demo } from './demo.js'
import { command as devices } from './devices.js'
import { command as doctor } from './doctor.js'
import { command as inspect } from './inspect.js'
import { command as mcp } from './mcp.js'
import { command as mix } from './mix.js'
import { command as pull } from './pull.js'
import { command as replay } from './replay.js'
import { command as serve } from './serve.js'
import { command as sweep } from './sweep.js'
import { command as worker } from './worker.js'

/** Each loads the engine when it runs, so that `--help` works where the engine does not. */
export const commands: Readonly<Record<string, Command>> = {
  mix,
  sweep,
  compare,
  serve,
  worker,
  mcp,
  replay,
  demo,
  pull,
  convert,
  inspect,
  devices,
  doctor,
  build,
}
