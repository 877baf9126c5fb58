#!/usr/bin/env node
/**
 * The command line. Exit codes: 0 done, 1 failed, 2 called wrongly, 130 stopped with Ctrl-C, 143 and
 * 129 by SIGTERM and SIGHUP.
 * Results go to standard output, everything else to standard error.
 */
import { closest } from 'fastest-levenshtein'

import { MagicMixError, isNativeError, messageOf } from '../errors.js'
import { packageVersion } from '../package-files.js'
import { type Command, UsageError, helpOf, readArguments } from './command.js'
import { commands } from './commands.js'

const exitCode = { done: 0, failed: 1, usage: 2 }

/** Signals that stop a command with everything tidied up, and the exit codes that shells expect. */
const stopSignals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined) {
    console.error(overview)
    return exitCode.usage
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    if (args[0] !== undefined) return run(args[0], ['--help'])
    console.log(overview)
    return exitCode.done
  }
  if (name === '--version' || name === '-v') {
    console.log(packageVersion())
    return exitCode.done
  }
  return run(name, args)
}

async function run(name: string, args: readonly string[]): Promise<number> {
  const interrupt = new AbortController()
  let stopped = 0
  const onSignal = (signal: keyof typeof stopSignals) => {
    stopped = stopSignals[signal]
    interrupt.abort()
  }
  const names = Object.keys(stopSignals) as (keyof typeof stopSignals)[]
  // Only once: a second Ctrl-C exits at once.
  for (const name of names) process.once(name, onSignal)
  try {
    const command = commandNamed(name)
    const { positionals, values } = readArguments(command, args)
    if (values.help) {
      console.log(helpOf(command))
      return exitCode.done
    }
    return (await command.run({ positionals, values, signal: interrupt.signal })) ?? exitCode.done
  } catch (error) {
    if (interrupt.signal.aborted) {
      console.error('Stopped.')
      return stopped
    }
    if (args.includes('--json')) console.log(JSON.stringify({ error: asJson(error) }))
    return complain(error, name, args.includes('--verbose') || Boolean(process.env.DEBUG))
  } finally {
    for (const each of names) process.removeListener(each, onSignal)
  }
}

function commandNamed(name: string): Command {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command) return command
  const names = Object.keys(commands)
  throw new UsageError(
    name.startsWith('-')
      ? `'${name}' has to come after a command: ${names.join(', ')}`
      : `There is no command '${name}'; did you mean '${closest(name, names)}'?`,
  )
}

/** What `--json` prints of a failure. */
function asJson(error: unknown): object {
  if (error instanceof MagicMixError) return error.toJSON()
  if (isNativeError(error)) return { name: error.name, code: error.code, message: error.message }
  const { name, message } = error instanceof Error ? error : new Error(String(error))
  return { name: error instanceof UsageError ? 'UsageError' : name, message }
}

function complain(error: unknown, name: string, verbose: boolean): number {
  const coded = error instanceof MagicMixError || isNativeError(error) ? error : undefined
  const calledWrongly =
    error instanceof UsageError ||
    coded?.code === 'INVALID_ARGUMENT' ||
    coded?.code === 'UNKNOWN_OPTION'
  const message = messageOf(error)
  console.error(`magicmix: ${message}${coded ? ` (${coded.code})` : ''}`)
  if (coded?.code === 'CONFIG_NEEDED') {
    console.error('On the command line: --unet-heads N (or --unet-head-width N), --text-heads N.')
  }
  if (error instanceof UsageError) {
    console.error(`Try 'magicmix ${Object.hasOwn(commands, name) ? `${name} ` : ''}--help'.`)
  }
  if (verbose && error instanceof Error) console.error(error.stack)
  return calledWrongly ? exitCode.usage : exitCode.failed
}

const width = Math.max(...Object.values(commands).map((command) => callOf(command).length)) + 2

const overview = `Usage: magicmix COMMAND [options]

Mixes two meanings into one picture: the layout of a picture, the content of a prompt.

Commands:
${Object.values(commands)
  .map((command) => `  ${callOf(command).padEnd(width)}${command.summary}`)
  .join('\n')}

  ${'COMMAND --help'.padEnd(width)}options and examples of a command
  ${'--version'.padEnd(width)}the version

Example:
  magicmix mix corgi.jpg "a photo of a coffee machine" -o mix.png --model sd-v1-4.safetensors`

function callOf({ usage }: Command): string {
  return usage.replace(' [options]', '')
}

// Who reads the messages may leave early (`2>&1 | head -1`): no reason to lose a picture.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}

void main(process.argv.slice(2)).then((code) => {
  // Not process.exit: the output has to get through a pipe first.
  process.exitCode = code
})
