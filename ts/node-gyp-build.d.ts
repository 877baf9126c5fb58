/** The package has no types of its own. */
declare module 'node-gyp-build' {
  /** The file of the addon of the package in the folder `root`; throws if there is none. */
  export function resolve(root: string): string
}
