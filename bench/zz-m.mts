import { sdxlModel } from '/work/main/test/support/models.js'
console.time('made'); console.log(await sdxlModel()); console.timeEnd('made')
