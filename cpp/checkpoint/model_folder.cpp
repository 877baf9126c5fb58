#include "checkpoint/model_folder.h"

#include "base/error.h"
#include "checkpoint/model_file.h"

namespace magicmix {

namespace fs = std::filesystem;

StoredTensors ModelFolder::tensors(const fs::path &file) const {
    return readModelFile(path(file), *cancel_).tensors;
}

/// The tensors of the shards that an index names. A shard is a plain file name: a path could lead
/// out of the folder.
StoredTensors ModelFolder::shards(const fs::path &part, const std::string &file) const {
    const std::string indexPath = path(part / file);
    const Json index = json(part / file);
    const auto map = index.is_object() ? index.find("weight_map") : index.end();
    if (!index.is_object() || map == index.end() || !map->is_object()) {
        throw Error("MODEL_FORMAT", "'" + indexPath + "' has no weight_map");
    }
    std::map<std::string, StoredTensors> opened;
    StoredTensors all;
    for (const auto &[name, value] : map->items()) {
        const std::string shard = value.is_string() ? value.get<std::string>() : "";
        if (shard.empty() || shard.find_first_of("/\\:") != std::string::npos || shard[0] == '.') {
            throw Error("MODEL_FORMAT",
                        "'" + indexPath + "' puts tensor '" + name + "' into '" + shard +
                            "'; a shard must be the plain name of a file in the same folder",
                        {{"tensor", name}});
        }
        if (opened.count(shard) == 0) {
            opened.emplace(shard, tensors(part / shard));
        }
        const auto &stored = opened.at(shard);
        const auto found = stored.find(name);
        if (found == stored.end()) {
            throw Error("MODEL_FORMAT",
                        "shard '" + shard + "' lacks tensor '" + name + "', which '" + indexPath +
                            "' puts there",
                        {{"tensor", name}});
        }
        all.emplace(name, found->second);
    }
    return all;
}

StoredTensors ModelFolder::weights(const fs::path &part, const std::string &stem,
                                   const std::string &pickledStem) const {
    for (const auto &[name, ending] : {std::pair{stem, ".safetensors"}, {pickledStem, ".bin"}}) {
        for (const std::string variant : {"", ".fp16"}) {
            const std::string single = name + variant + ending;
            if (has(part / single)) return tensors(part / single);
            // transformers and diffusers put the variant on different sides of the index's name
            for (const std::string &index :
                 {single + ".index.json", name + ending + ".index" + variant + ".json"}) {
                if (has(part / index)) return shards(part, index);
            }
        }
    }
    throw Error("MODEL_NOT_FOUND",
                "'" + path(part) + "' has no " + stem + ".safetensors and no " + pickledStem +
                    ".bin",
                {{"path", path(part)}});
}

} // namespace magicmix
