#include "base/progress.h"

namespace magicmix {

const char *stageName(Stage stage) {
    switch (stage) {
    case Stage::Load: return "load";
    case Stage::Convert: return "convert";
    case Stage::Encode: return "encode";
    case Stage::Layout: return "layout";
    case Stage::Content: return "content";
    case Stage::Score: return "score";
    case Stage::Decode: return "decode";
    }
    return "load";
}

} // namespace magicmix
