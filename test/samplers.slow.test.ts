/** All states of the samplers that `samplers.test.ts` leaves out. */
import { describeRuns } from './support/samplers.js'

describe('samplers, all cases', function () {
  this.timeout(120_000)
  describeRuns((i, id) => i % 4 !== 0 && !id.includes('contents'))
})
