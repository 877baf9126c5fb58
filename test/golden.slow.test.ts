import { MagicMix } from 'magicmix'

import { describeGolden } from './support/golden.js'
import { sd15Model } from './support/models.js'

describeGolden('sd15', async (precision) =>
  MagicMix.load({ model: await sd15Model(), device: 'cpu', precision }),
)
