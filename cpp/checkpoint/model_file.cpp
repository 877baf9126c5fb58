#include "checkpoint/model_file.h"

#include "checkpoint/gguf.h"
#include "checkpoint/safetensors.h"
#include "error.h"

#include <algorithm>
#include <string_view>

namespace magicmix {
namespace {

bool startsWith(const MappedFile &file, std::string_view magic) {
    return file.size() >= magic.size() &&
           std::equal(magic.begin(), magic.end(), file.data(), [](char a, std::byte b) {
               return static_cast<unsigned char>(a) == std::to_integer<unsigned char>(b);
           });
}

/// Formats that people have and we do not read are named, with what to do.
void refuseOtherFormats(const MappedFile &file) {
    const auto refuse = [&](const std::string &what) {
        throw Error("MODEL_UNSUPPORTED",
                    "'" + file.path() + "' is " + what +
                        ", which is not read; give a .safetensors file or a diffusers folder",
                    {{"path", file.path()}});
    };
    if (startsWith(file, "PK\x03\x04")) refuse("a zip archive (a .ckpt?)");
    if (startsWith(file, "\x80\x02")) refuse("a pickle (a .ckpt?)");
}

} // namespace

ModelFile readModelFile(const std::string &path) {
    const auto file = MappedFile::open(path);
    if (looksLikeGguf(*file)) {
        GgufFile gguf = readGguf(path);
        return {"gguf", std::move(gguf.tensors), std::move(gguf.config)};
    }
    refuseOtherFormats(*file);
    SafetensorsFile safetensors = readSafetensors(path);
    return {"safetensors", std::move(safetensors.tensors), std::move(safetensors.config)};
}

} // namespace magicmix
