/** The package has no types of its own. */
declare module 'node-gyp-build' {
  /** Loads the addon of the package in the folder `root`. */
  function load(root: string): unknown
  export = load
}
