/**
 * Every error code: how it comes about, a message as it is printed, and what to do. From this table come
 * docs/reference/errors.md and the codes that {@link MagicMixError.fromJSON} knows; test/error-codes.test.ts
 * makes the examples.
 */
import type { MagicMixErrorCode } from './errors.js'

/** An error code, for people. */
export interface ErrorHelp {
  /** How it comes about. */
  readonly cause: string
  /** A message. */
  readonly example: string
  /** What to do about it. */
  readonly remedy: string
}

export const errorCodes: Readonly<Record<MagicMixErrorCode, ErrorHelp>> = {
  INVALID_ARGUMENT: {
    cause:
      'A value has another type than its option, is out of its range, or does not go with another option. The command line ends with exit code 2.',
    example: 'Expected a number between 0 and 1 for nu but received 1.5',
    remedy:
      'Give a value as the message expects it. All ranges are in [the options](options.md), and `requestSchema` is the JSON Schema of a request. `details` has `name`, `expected` and `received`.',
  },
  UNKNOWN_OPTION: {
    cause:
      'An object of options has a key that does not exist: a slip of the pen, or an option of another function. The command line ends with exit code 2.',
    example: "mix has no option 'kmin'; did you mean 'kMin'?",
    remedy: 'Use the name that is suggested, or leave the key out.',
  },
  PROMPT_TOO_LONG: {
    cause:
      'The text encoder sees 75 tokens. A prompt has more of them; words may take several, punctuation takes one each, and an embedding as many as it has vectors.',
    example:
      "the content prompt has 82 tokens, but only 75 fit: it would be cut off before 'very' (token 76). Shorten it, or allow that with truncate: true",
    remedy:
      'Shorten the prompt: `mixer.tokenize(text)` shows its tokens. `truncate: true` (`--truncate`) cuts the rest off.',
  },
  PROMPT_SYNTAX: {
    cause:
      "With `promptSyntax: 'a1111'` a bracket is not closed, a time is not a number, or a weight in brackets is given.",
    example: "the content prompt, character 3: '[' is not closed",
    remedy:
      'Mend the prompt at `details.position`. A backslash before a bracket makes it a plain character; weights of phrases are the option `attention`.',
  },
  PHRASE_NOT_FOUND: {
    cause:
      'A phrase of `attention` is not in the content prompt, or not as often as `occurrence` says. Phrases are whole words, upper and lower case are the same.',
    example: "'lion' is not in the content prompt, whose words are: a, photo, of, tiger",
    remedy:
      'Spell the phrase as the prompt does. `attention` is about the content prompt alone, not about those of the layout or the negative one.',
  },
  PHRASE_TRUNCATED: {
    cause: 'A phrase of `attention` stands behind the 75th token, and `truncate` cut it off.',
    example:
      "'striped' is in the part of the content prompt that was cut off after 75 tokens: move it to the front, or shorten the prompt",
    remedy: 'Move the phrase to the front, or shorten the prompt.',
  },
  PICTURE_UNREADABLE: {
    cause:
      'The layout, or a map, is missing, empty, damaged, too large, or of a format that is not read. The message says what its first bytes show it to be.',
    example:
      "The layout picture (corgi.jpg) cannot be read: ENOENT: no such file or directory, open 'corgi.jpg'",
    remedy:
      'Look at the path, which counts from the working directory of the process. Convert other formats to PNG or JPEG first; make pictures over 134 megapixels (JPEG: 268) smaller.',
  },
  PICTURE_UNWRITABLE: {
    cause:
      'The folder does not exist, may not be written to, or its disk is full; or a recipe is longer than a JPEG can carry.',
    example:
      "The mix cannot be written to missing/mix.png: ENOENT: no such file or directory, open 'missing/mix.png'",
    remedy:
      'Make the folder, or write elsewhere: the mix is still in memory. The command line puts it into the folder for temporary files and says where. PNG and WebP carry recipes of any length.',
  },
  RECIPE_NOT_FOUND: {
    cause:
      'magicmix did not write the picture, or a program on its way (a chat, a web site, an editor) took the metadata out.',
    example:
      'The picture (models/layouts/heart.png) carries no recipe: magicmix did not write it, or it was taken out on the way, as many programs and sites do',
    remedy:
      'Use the file as it was written. `toBuffer` writes a recipe only with `recipe: true`; `mix.request` and `recipe(request)` are the request without a picture.',
  },
  RECIPE_INVALID: {
    cause: 'A recipe was changed by hand, cut off, or is of a newer version of magicmix.',
    example:
      'The recipe in the picture (mix.webp) is not one that can be used: Expected a number between 0 and 1 for kMin but received 9.5',
    remedy:
      'Update magicmix if the message names a newer version. Else the recipe cannot be trusted: write the request by hand, with what `magicmix inspect` of another picture shows.',
  },
  RECIPE_MISMATCH: {
    cause:
      '`magicmix replay` does not find the layout, a map, a LoRA or the model that the recipe names, or finds another one under its name.',
    example:
      'The recipe in mix.png names the layout heart.png, which is neither beside it nor in this folder: name it with --layout FILE',
    remedy:
      'Name the right file with the flag in the message. The same flag takes another file in its place, for another picture.',
  },
  MODEL_NOT_FOUND: {
    cause:
      'There is no file or folder at that path; or the hub has no such repository, revision or file, or it is private; or with `HF_HUB_OFFLINE=1` it is not in the cache.',
    example:
      "There is no model at 'sd-v1-4.safetensors': there is no 'sd-v1-4.safetensors' in the folder '/srv'",
    remedy:
      'Look at the path. Models of the hub begin with `hf:`, as in `hf:sd1.5` or `hf:ORG/NAME`; the message and `details.similar` suggest names that may have been meant. `HF_TOKEN` gives access to private ones.',
  },
  MODEL_FORMAT: {
    cause:
      'The file is cut off or damaged, or no model at all: a web page, a pointer of git-lfs, an archive.',
    example:
      "'sd-v1-4.safetensors' is a web page (HTML), not a model: the download needs a login, or another address",
    remedy:
      'Download it again and compare its size and SHA-256; `magicmix pull` checks them. `magicmix inspect FILE` shows what is in a file.',
  },
  MODEL_UNSUPPORTED: {
    cause:
      'A checkpoint, but of another family (Stable Diffusion 3, Flux), for inpainting, a LoRA in the place of a model, or with a setting that is not honoured.',
    example:
      "'sd3' is Stable Diffusion 3 (pipeline 'StableDiffusion3Pipeline'), which cannot be mixed with; give a whole checkpoint of Stable Diffusion 1.x, 2.x or XL",
    remedy:
      'Take a model of Stable Diffusion 1.x, 2.x or XL. LoRAs, autoencoders and embeddings go into options of their own. [Keys of configuration files](config-keys.md) lists the settings that are honoured.',
  },
  CONFIG_NEEDED: {
    cause:
      "A single file does not declare how many attention heads its networks have, and its sizes are not those of Stable Diffusion's own models.",
    example:
      'the file does not declare how many attention heads the text encoder has, and its sizes are not those of Stable Diffusion 1.x, 2.x or XL; pass config: { textEncoder: { heads: ... } }',
    remedy:
      "Pass the number in `config`, as the message says (`--unet-heads`, `--text-heads` on the command line), or load the model's folder in the format of diffusers, which declares it.",
  },
  ACCESS_DENIED: {
    cause:
      'The model on the hub is for those who have accepted its licence; or the token is wrong or has expired.',
    example:
      'somebody/model: access is for those who have accepted its licence. Accept it at https://huggingface.co/somebody/model, make a token at https://huggingface.co/settings/tokens and set HF_TOKEN to it',
    remedy:
      "Accept the licence on the model's page, make a token there, and set `HF_TOKEN` to it, or log in with Python's `hf auth login`.",
  },
  DOWNLOAD_FAILED: {
    cause:
      'The network, a proxy or the hub failed, after retries where they may help, or answered with something else.',
    example: 'somebody/model: huggingface.co answered with status 400',
    remedy:
      'Run it again: what was downloaded is kept, and the download resumes. `HF_ENDPOINT` names a mirror. Without a network, download elsewhere and give the path.',
  },
  DOWNLOAD_DAMAGED: {
    cause:
      'A file that was downloaded has another size or hash than the hub announced: a proxy or a mirror changed it. It was deleted.',
    example:
      'somebody/model: model.safetensors is not what the hub announced (1000 bytes with the hash 0000000000000000000000000000000000000000000000000000000000000000), so it was deleted. Try again, or another HF_ENDPOINT',
    remedy: 'Run it again; if that does not help, name another mirror in `HF_ENDPOINT`.',
  },
  DEVICE_UNAVAILABLE: {
    cause:
      'The device is not in this machine, has no driver, its library is not in the package, it failed its self-test, or no process can be started to test it (or for `isolate`).',
    example:
      "The device 'cuda:99' cannot be used here. cuda: not part of this package: \"npm install magicmix-cuda-linux-x64\" brings it, \"npx magicmix build --cuda\" builds it. 'cpu' can always be used, and 'auto' takes the best there is.",
    remedy:
      "`npx magicmix devices` lists all devices and why some cannot be used; `npx magicmix doctor` tests them. `device: 'auto'` takes the best that works.",
  },
  DEVICE_FAILED: {
    cause:
      'A GPU stopped working in the middle of a mix (its driver was reset, the card was removed), or the process of a mixer with `isolate: true` was killed, mostly for want of memory.',
    example: "The mixer's own process has ended (SIGKILL); the next mix starts another one",
    remedy:
      'With `isolate: true` mix again: the model is loaded once more. Without it, dispose of the mixer and load another. Look at the system log for the reason, and at [memory](errors.md#out_of_memory).',
  },
  DISK_FULL: {
    cause:
      'A download or a converted model would not fit on the disk, or did not; a quota or a limit of file sizes counts as well.',
    example:
      'The download needs 2132.5 MB more in hub/models--somebody--model/snapshots/0123456789abcdef0123456789abcdef01234567, where 812.1 MB are free. HF_HUB_CACHE can name a folder on another disk; the part that is there is kept',
    remedy:
      'Make room (`details.neededBytes`, `details.freeBytes`), or write to another disk: `HF_HUB_CACHE` for downloads.',
  },
  FILE_UNWRITABLE: {
    cause:
      'The output of `convert`, or the folder of the cells of a sweep, cannot be written: it does not exist, or may not be written to.',
    example: "cannot write 'missing/model.gguf': No such file or directory",
    remedy: 'Make the folder, or name another place. What was there before is unchanged.',
  },
  OUT_OF_MEMORY: {
    cause:
      'The system refused memory, or what is free (in the container, on the GPU) would not suffice. Checked before the weights are loaded and before a large mix begins.',
    example:
      "the model (2035 MiB of weights, and a mix of its native size) needs 2575 MiB on device 'cpu', but only 812 MiB are free",
    remedy:
      "Take a smaller size, `precision: 'q8_0'` or a [quantised](cli/convert.md) model, `keepOnCpu: ['textEncoder', 'vae']` on a GPU, or give the container more. `magicmix inspect MODEL` says how much memory a mix takes.",
  },
  OUT_OF_THREADS: {
    cause: 'The system gives the process no thread. A mixer needs at least one.',
    example:
      "the system gives this process no more threads (Resource temporarily unavailable); a mixer needs at least one: raise `ulimit -u`, the container's --pids-limit or the unit's TasksMax",
    remedy:
      "Raise `ulimit -u`, the container's `--pids-limit` or the unit's `TasksMax`; or load fewer mixers.",
  },
  QUEUE_FULL: {
    cause: 'As many mixes wait in this mixer as `maxQueue` allows.',
    example: '2 mixes wait already, and this mixer lets 2 wait (maxQueue): try again later',
    remedy: 'Try again later, raise `maxQueue`, or load a second mixer. A server answers with 429.',
  },
  TIMED_OUT: {
    cause: "The mix, its waiting included, took longer than the mixer's `timeLimit`.",
    example:
      'The mix took longer than the 1 ms that this mixer allows (timeLimit), waiting included',
    remedy:
      'Raise `timeLimit`, take fewer `steps`, a smaller size or `fast`, or bound the waiting with `maxQueue`.',
  },
  DISPOSED: {
    cause:
      'The mixer was disposed of before the call or during it: by `dispose()`, or at the end of the block of an `await using`.',
    example: 'This mixer has been disposed of',
    remedy: 'Await the mixes before the mixer is disposed of, or load another one.',
  },
  ADDON_UNAVAILABLE: {
    cause:
      'The package has no native part for this system, a bundler left it out, Node runs with `--no-addons` or without the permission for addons; or sharp cannot be loaded.',
    example:
      'The native part of magicmix cannot be loaded on linux-x64 (glibc 2.36) with Node 20.20.2',
    remedy:
      '`details.attempts` lists the files that were tried, and why each did not load. `npx magicmix build` compiles the native part from the sources in the package. Bundlers must keep magicmix external.',
  },
  BUILD_FAILED: {
    cause:
      '`magicmix build` lacks a compiler, CMake or the headers of a GPU backend, or the compiler failed. What was installed before is unchanged.',
    example:
      "CMake 3.19 or later is needed, but there is no 'cmake' on the PATH. For example: apt-get install cmake (Debian), dnf install cmake (Fedora), apk add cmake (Alpine).",
    remedy: 'Install what the message names, and run it again.',
  },
  NOT_FINITE: {
    cause:
      'A network gave NaN or infinite values: its weights are damaged, or too large for the precision, as those of the original autoencoder of Stable Diffusion XL in f16.',
    example:
      'the UNet at timestep 501 gave values that are not finite numbers; the weights are damaged, or too large for this precision (try f32)',
    remedy:
      "Load with `precision: 'bf16'` or `'f32'`, or an autoencoder made for f16 (`vae`). If it persists, compare the file's SHA-256 with its source.",
  },
  INTERNAL: {
    cause: 'A bug of magicmix.',
    example: 'Node-API failed to add a cleanup hook',
    remedy:
      'Report it, with the message, the output of `npx magicmix doctor --json` and the recipe of the request.',
  },
}
