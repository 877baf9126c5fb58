/** The order in which the cells of a sheet are made. */

/**
 * The indices of a sheet's cells from coarse to fine: the corners, then what halves the gaps, and so
 * on, so that what is there at any time shows the whole sheet.
 *
 * @param lengths values of every axis; the first axis goes round fastest
 * @param slow an axis to change as seldom as possible among cells that are equally coarse; -1: none
 */
export function coarseToFine(lengths: readonly number[], slow = -1): number[] {
  const levels = lengths.map(levelsOf)
  const count = lengths.reduce((product, length) => product * length, 1)
  const cells = Array.from({ length: count }, (_, index) => {
    const at: number[] = []
    let rest = index
    for (const length of lengths) {
      at.push(rest % length)
      rest = Math.floor(rest / length)
    }
    const level = Math.max(...at.map((position, axis) => levels[axis]![position]!))
    return { index, level, slow: at[slow] ?? 0 }
  })
  cells.sort((a, b) => a.level - b.level || a.slow - b.slow || a.index - b.index)
  return cells.map(({ index }) => index)
}

/** 0 for the ends of an axis, 1 for its middle, 2 for the middles between these ... */
function levelsOf(length: number): number[] {
  const levels = new Array<number>(length).fill(0)
  const halve = (from: number, to: number, level: number): void => {
    if (to - from < 2) return
    const middle = Math.floor((from + to) / 2)
    levels[middle] = level
    halve(from, middle, level + 1)
    halve(middle, to, level + 1)
  }
  halve(0, length - 1, 1)
  return levels
}
