/** What is told while work goes on. */
import type { Picture } from './picture.js'

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
export interface LoadProgressEvent {
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
}
