/** What a mixer's own process and its owner say to each other. */
import type { NativeMixer, NativeProgress } from '../native/contract.js'
import type { NativeLoadOptions } from '../models/load-options.js'

/** The operations of a loaded mixer. */
export type Operation = Exclude<keyof NativeMixer, 'info' | 'schedule' | 'dispose'>

/** What a process answers when it has loaded the model. */
export type Loaded = Pick<NativeMixer, 'info' | 'schedule'>

/** To the process. */
export type Order =
  | { id: number; load: NativeLoadOptions }
  | { id: number; operation: Operation; input: unknown; reports: boolean }
  | { id: number; cancel: true }

/** From it. */
export type Answer =
  | { id: number; event: NativeProgress }
  | { id: number; result: unknown }
  | { id: number; error: { code: string; message: string; details: object } }
