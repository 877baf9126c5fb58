#pragma once

#include "base/cancellation.h"
#include "checkpoint/input_file.h"

#include <cstdint>
#include <map>
#include <string>

namespace magicmix {

/// The bytes of a file in an archive, as they lie in it.
struct ZipEntry {
    std::uint64_t offset = 0, bytes = 0;
};

using ZipEntries = std::map<std::string, ZipEntry>;

/// The files of a zip archive, with zip64. Only stored ones are read: torch compresses nothing, and
/// what is not inflated cannot be a bomb. Throws `MODEL_UNSUPPORTED` for compressed and encrypted
/// entries, `MODEL_FORMAT` for those that lie about where they are, overlap, or have one name.
/// Checksums are not compared, since that would mean to read every tensor of a model.
ZipEntries readZip(const InputFile &file, const Cancellation &cancel);

/// Does `file` start as a zip archive does?
bool looksLikeZip(const InputFile &file);

} // namespace magicmix
