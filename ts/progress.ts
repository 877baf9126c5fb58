/** What is told while work goes on. */
import type { Picture } from './input/picture.js'

/** What {@link MixRequest.onProgress} is called with. */
export interface ProgressEvent {
  /**
   * 'encode': the picture and the prompts go in; 'layout': the layout of a layout prompt is made;
   * 'content': the steps of the mix; 'decode': the pixels come out.
   */
  stage: 'encode' | 'layout' | 'content' | 'decode'
  /** How many steps of this stage are done. */
  step: number
  /** How many steps this stage has. */
  steps: number
  /** Training timestep (0..999) of the step just done; 0 where there is none. */
  timestep: number
  /** Estimated time to the end of the whole mix in ms; 0 while unknown. */
  etaMs: number
  /** A rough small picture of what is coming, if `preview` asks for it: one pixel a latent cell. */
  preview?: Picture
}

/** What {@link LoadOptions.onProgress} is called with. */
export type LoadProgressEvent = WeightsProgressEvent | DownloadProgressEvent

/** The weights are being read. */
export interface WeightsProgressEvent {
  stage: 'load'
  /** How many of the steps of loading are done. */
  step: number
  /** How many there are. */
  steps: number
  /** Estimated time to the end in ms; 0 while unknown. */
  etaMs: number
}

/** What {@link ConvertOptions.onProgress} is called with. */
export interface ConvertProgressEvent {
  stage: 'convert'
  /** How many tensors are written. */
  step: number
  /** How many there are. */
  steps: number
  /** Estimated time to the end in ms; 0 while unknown. */
  etaMs: number
}

/** A model comes from the hub. The first event is told before anything is downloaded. */
export interface DownloadProgressEvent {
  stage: 'download'
  /** 'ORG/NAME' */
  repo: string
  /** The model's licence and where to read it, as far as known. */
  license: { readonly name: string; readonly url: string } | null
  /** Path in the repository of the file that is coming. */
  file: string
  /** How many files are done. */
  step: number
  /** How many have to be downloaded. */
  steps: number
  /** How many bytes of them are there; less than before if a server cannot continue a file. */
  bytes: number
  /** How many there will be. */
  totalBytes: number
  /** Mean rate since the start; 0 while unknown. */
  bytesPerSecond: number
  /** Estimated time to the end in ms; 0 while unknown. */
  etaMs: number
}
