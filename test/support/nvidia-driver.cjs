// Preloaded with `node --require`: NVIDIA's driver seems to be there, whose file CUDA's devices are looked
// for behind. Tests take build/fake-cuda for such a device.
const files = require('node:fs/promises')

const { stat } = files
files.stat = (file, ...rest) => stat(file === '/dev/nvidiactl' ? '/dev/null' : file, ...rest)
