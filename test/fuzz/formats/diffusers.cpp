#include "target.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>

namespace fs = std::filesystem;

namespace {

/// The input is the texts of these files, with a line "%%" between them. An empty one is left out.
/// What stands for the safetensors shard is its header; its values are 64 zeros.
constexpr const char *kShard = "unet/a.safetensors";
constexpr const char *kFiles[] = {
    "model_index.json",
    "scheduler/scheduler_config.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors.index.json",
    kShard,
    "vae/config.json",
    "text_encoder/config.json",
};
constexpr std::string_view kBetween = "\n%%\n";

/// A folder in memory that goes with the process.
class Folder {
public:
    Folder() {
        std::string pattern = "/dev/shm/magicmix-fuzz-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr) std::abort();
        root_ = pattern;
        for (const char *part : {"unet", "vae", "text_encoder", "scheduler"}) {
            fs::create_directory(root_ / part);
        }
        // These two networks are always the same; the UNet stands for all three.
        writeShard("vae/diffusion_pytorch_model.safetensors",
                   R"({"quant_conv.bias":{"dtype":"F16","shape":[8],"data_offsets":[0,16]}})");
        writeShard("text_encoder/model.safetensors",
                   R"({"text_model.final_layer_norm.bias":)"
                   R"({"dtype":"F16","shape":[8],"data_offsets":[0,16]}})");
    }
    ~Folder() {
        std::error_code ignored;
        fs::remove_all(root_, ignored);
    }
    Folder(const Folder &) = delete;
    Folder &operator=(const Folder &) = delete;

    std::string path() const { return root_.string(); }

    /// Most inputs change one of the files, so the others stay as they are.
    void write(const std::string &name, std::string_view text) {
        std::string &before = written_[name];
        if (before == text) return;
        before = text;
        if (text.empty()) {
            fs::remove(root_ / name);
        } else if (name == kShard) {
            writeShard(name, text);
        } else {
            std::ofstream(root_ / name, std::ios::binary) << text;
        }
    }

private:
    void writeShard(const std::string &name, std::string_view header) const {
        std::string length(8, '\0');
        for (unsigned i = 0; i < 8; i++) {
            length[i] = static_cast<char>(header.size() >> (8 * i) & 255);
        }
        std::ofstream(root_ / name, std::ios::binary) << length << header << std::string(64, '\0');
    }

    fs::path root_;
    std::map<std::string, std::string> written_; ///< files by name, "" of those that are not there
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    static Folder folder;
    std::string_view rest(reinterpret_cast<const char *>(data), size);
    for (const char *name : kFiles) {
        const std::size_t end = std::min(rest.find(kBetween), rest.size());
        folder.write(name, rest.substr(0, end));
        rest.remove_prefix(std::min(end + kBetween.size(), rest.size()));
    }
    magicmix::expectErrorAtMost([&] { magicmix::openAsModel(folder.path()); });
    return 0;
}
