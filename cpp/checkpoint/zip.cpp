#include "checkpoint/zip.h"

#include "checkpoint/byte_reader.h"

#include <algorithm>
#include <vector>

namespace magicmix {
namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kCentralHeader = 0x02014b50;
constexpr std::uint32_t kEnd = 0x06054b50;
constexpr std::uint32_t kEnd64 = 0x06064b50;
constexpr std::uint32_t kEnd64Locator = 0x07064b50;

constexpr std::uint64_t kCentralHeaderBytes = 46;
constexpr std::uint64_t kEndBytes = 22;
constexpr std::uint64_t kEnd64Bytes = 56;
constexpr std::uint64_t kEnd64LocatorBytes = 20;
constexpr std::uint64_t kMaxCommentBytes = 0xffff;
// A checkpoint has an entry for every tensor, and a few more.
constexpr std::uint64_t kMaxEntries = 1 << 16;

// Fields with these values are found in their 64-bit form instead.
constexpr std::uint32_t kIn64 = 0xffffffff;
constexpr std::uint16_t kIn64Short = 0xffff;
constexpr std::uint16_t kExtra64 = 1;

constexpr std::uint16_t kStored = 0;
constexpr std::uint16_t kEncrypted = 1; // a bit of the flags

/// The list of entries at the end of an archive.
struct Directory {
    std::uint64_t offset = 0, bytes = 0, entries = 0;
};

/// An entry as the directory describes it.
struct Described {
    std::string name;
    std::uint16_t flags = 0, method = 0;
    std::uint64_t stored = 0, original = 0, header = 0; ///< bytes, bytes, offset
};

/// The file, and who may stop the reading.
struct Archive {
    const InputFile &file;
    const Cancellation &cancel;

    [[noreturn]] void fail(const std::string &problem) const {
        ByteReader(file, 0, 0, cancel).fail("is a zip archive " + problem);
    }

    /// A reader of `bytes` at `offset`, if the file has them.
    ByteReader part(std::uint64_t offset, std::uint64_t bytes, const std::string &what) const {
        if (offset > file.size() || bytes > file.size() - offset) {
            fail("whose " + what + " would lie at byte " + std::to_string(offset) + " of " +
                 std::to_string(file.size()) + ": it is truncated, or lies");
        }
        return {file, offset, offset + bytes, cancel};
    }

    std::uint32_t signatureAt(std::uint64_t offset) const {
        return part(offset, sizeof(std::uint32_t), "signature").number<std::uint32_t>("");
    }
};

template <typename T>
T numberIn(const std::string &bytes, std::size_t at) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

/// The end record is the last thing in an archive but for a comment of unknown length.
std::uint64_t findEnd(const Archive &archive) {
    const std::uint64_t size = archive.file.size();
    const std::uint64_t length = std::min(size, kEndBytes + kMaxCommentBytes);
    const std::string end = archive.file.readText(size - length, static_cast<std::size_t>(length));
    for (std::uint64_t comment = 0; kEndBytes + comment <= length; comment++) {
        const auto at = static_cast<std::size_t>(length - kEndBytes - comment);
        if (numberIn<std::uint32_t>(end, at) == kEnd &&
            numberIn<std::uint16_t>(end, at + kEndBytes - 2) == comment) {
            return size - kEndBytes - comment;
        }
    }
    archive.fail("without an end record: it is truncated");
}

Directory readDirectory64(const Archive &archive, std::uint64_t end) {
    if (end < kEnd64LocatorBytes ||
        archive.signatureAt(end - kEnd64LocatorBytes) != kEnd64Locator) {
        archive.fail("of 64 bits without its locator");
    }
    ByteReader locator = archive.part(end - kEnd64LocatorBytes + 8, 8, "locator");
    const auto at = locator.number<std::uint64_t>("the locator");
    ByteReader record = archive.part(at, kEnd64Bytes, "zip64 end record");
    if (record.number<std::uint32_t>("a signature") != kEnd64) {
        record.fail("is a zip64 archive without an end record where the locator points");
    }
    record.skip(28, "the zip64 end record");
    Directory directory;
    directory.entries = record.number<std::uint64_t>("the number of entries");
    directory.bytes = record.number<std::uint64_t>("the size of the directory");
    directory.offset = record.number<std::uint64_t>("the offset of the directory");
    return directory;
}

Directory readDirectory(const Archive &archive) {
    const std::uint64_t end = findEnd(archive);
    ByteReader record = archive.part(end, kEndBytes, "end record");
    record.skip(10, "the end record");
    Directory directory;
    directory.entries = record.number<std::uint16_t>("the number of entries");
    directory.bytes = record.number<std::uint32_t>("the size of the directory");
    directory.offset = record.number<std::uint32_t>("the offset of the directory");
    if (directory.entries == kIn64Short || directory.bytes == kIn64 || directory.offset == kIn64) {
        directory = readDirectory64(archive, end);
    }
    if (directory.entries > kMaxEntries ||
        directory.entries > directory.bytes / kCentralHeaderBytes) {
        record.fail("is a zip archive that claims " + std::to_string(directory.entries) +
                    " entries in a directory of " + std::to_string(directory.bytes) + " bytes");
    }
    return directory;
}

/// Takes the 64-bit forms of those fields that do not fit into 32 bits.
void readExtra64(ByteReader extra, Described &entry) {
    while (extra.left() >= 4) {
        const auto id = extra.number<std::uint16_t>("an extra field");
        const auto bytes = extra.number<std::uint16_t>("an extra field");
        if (id != kExtra64) {
            extra.skip(bytes, "an extra field");
            continue;
        }
        for (std::uint64_t *field : {&entry.original, &entry.stored, &entry.header}) {
            if (*field == kIn64) *field = extra.number<std::uint64_t>("a zip64 field");
        }
        return;
    }
}

Described readDescription(ByteReader &directory) {
    Described entry;
    if (directory.number<std::uint32_t>("the zip directory") != kCentralHeader) {
        directory.fail("is a zip archive whose directory is damaged");
    }
    directory.skip(4, "the zip directory");
    entry.flags = directory.number<std::uint16_t>("the zip directory");
    entry.method = directory.number<std::uint16_t>("the zip directory");
    directory.skip(8, "the zip directory"); // time, date, checksum
    entry.stored = directory.number<std::uint32_t>("the zip directory");
    entry.original = directory.number<std::uint32_t>("the zip directory");
    const auto nameBytes = directory.number<std::uint16_t>("the zip directory");
    const auto extraBytes = directory.number<std::uint16_t>("the zip directory");
    const auto commentBytes = directory.number<std::uint16_t>("the zip directory");
    directory.skip(8, "the zip directory"); // disk, attributes
    entry.header = directory.number<std::uint32_t>("the zip directory");
    entry.name = std::string(directory.take(nameBytes, "a name in the zip directory"));
    const std::uint64_t extra = directory.position();
    directory.skip(extraBytes, "the zip directory");
    directory.skip(commentBytes, "the zip directory");
    readExtra64({directory.file(), extra, extra + extraBytes, directory.cancellation()}, entry);
    return entry;
}

void refuseUnreadable(const InputFile &file, const Described &entry) {
    const bool encrypted = (entry.flags & kEncrypted) != 0;
    if (encrypted || entry.method != kStored) {
        throw Error("MODEL_UNSUPPORTED",
                    "entry '" + entry.name + "' of the zip archive '" + file.path() + "' is " +
                        (encrypted ? "encrypted" : "compressed") +
                        "; torch stores all entries as they are",
                    {{"entry", entry.name}, {"path", file.path()}});
    }
}

/// Where the bytes are: behind a second header, which alone holds its own length.
ZipEntry locate(const Archive &archive, const Described &entry) {
    const std::string what = "entry '" + entry.name + "'";
    const std::uint64_t size = archive.file.size();
    ByteReader header = archive.part(entry.header, size - std::min(entry.header, size), what);
    if (header.left() < 4 || header.number<std::uint32_t>("a header") != kLocalHeader) {
        header.fail("is a zip archive without " + what + " where its directory says");
    }
    header.skip(2, "the header of an entry");
    Described again;
    again.flags = header.number<std::uint16_t>("the header of an entry");
    again.method = header.number<std::uint16_t>("the header of an entry");
    header.skip(16, "the header of an entry"); // time, date, checksum, sizes (not always known)
    const auto nameBytes = header.number<std::uint16_t>("the header of an entry");
    const auto extraBytes = header.number<std::uint16_t>("the header of an entry");
    again.name = std::string(header.take(nameBytes, "the name of an entry"));
    header.skip(extraBytes, "the header of an entry");
    refuseUnreadable(archive.file, again);
    if (again.name != entry.name || entry.stored != entry.original) {
        header.fail("is a zip archive that contradicts itself about " + what);
    }
    if (entry.stored > header.left()) {
        header.fail("is too short for the " + std::to_string(entry.stored) + " bytes of " + what +
                    ": it is truncated, or its directory lies");
    }
    return {header.position(), entry.stored};
}

/// The ranges of entries and of the directory, to see whether two overlap.
class Ranges {
public:
    void add(std::uint64_t begin, std::uint64_t end, const std::string &name) {
        ranges_.push_back({begin, end, name});
    }

    void refuseOverlaps(const Archive &archive) {
        std::sort(ranges_.begin(), ranges_.end(),
                  [](const Range &a, const Range &b) { return a.begin < b.begin; });
        for (std::size_t i = 1; i < ranges_.size(); i++) {
            if (ranges_[i - 1].end > ranges_[i].begin) {
                archive.fail("in which " + ranges_[i - 1].name + " and " + ranges_[i].name +
                             " overlap");
            }
        }
    }

private:
    struct Range {
        std::uint64_t begin, end;
        std::string name;
    };
    std::vector<Range> ranges_;
};

} // namespace

bool looksLikeZip(const InputFile &file) {
    constexpr std::size_t bytes = sizeof kLocalHeader;
    return file.size() >= bytes &&
           numberIn<std::uint32_t>(file.readText(0, bytes), 0) == kLocalHeader;
}

ZipEntries readZip(const InputFile &file, const Cancellation &cancel) {
    const Archive archive{file, cancel};
    const Directory found = readDirectory(archive);
    ByteReader directory = archive.part(found.offset, found.bytes, "directory");
    Ranges ranges;
    ranges.add(found.offset, found.offset + found.bytes, "the directory");

    ZipEntries entries;
    for (std::uint64_t i = 0; i < found.entries; i++) {
        const Described described = readDescription(directory);
        refuseUnreadable(file, described);
        const ZipEntry entry = locate(archive, described);
        ranges.add(described.header, entry.offset + entry.bytes, "entry '" + described.name + "'");
        if (!entries.emplace(described.name, entry).second) {
            directory.fail("is a zip archive with two entries called '" + described.name + "'");
        }
    }
    ranges.refuseOverlaps(archive);
    return entries;
}

} // namespace magicmix
