#include "checkpoint/tokenizer.h"

#include "base/error.h"
#include "base/tokens.h"
#include "checkpoint/config_check.h"

#include <algorithm>
#include <map>
#include <sstream>

namespace magicmix {
namespace {

// Of CLIP's merges, every one as "left right\n" (FNV-1a).
constexpr std::uint64_t kMergesHash = 0x84ddd99cc594e5a6;

const std::map<std::string, std::int32_t> kKnownTokens = {
    {"<|startoftext|>", kBeginOfText}, {"<|endoftext|>", kEndOfText}, {"!", 0}};

/// Gathers what several files say about the same tokens.
class Gathered {
public:
    explicit Gathered(std::string where) : where_(std::move(where)) {}

    [[noreturn]] void fail(const std::string &problem) const {
        throw Error("MODEL_FORMAT", where_ + " " + problem, {{"path", where_}});
    }

    void add(const Json &text, const Json &id, bool anyCase, bool wholeWord) {
        if (!text.is_string() || text.get<std::string>().empty() || !id.is_number_integer() ||
            id.get<std::int64_t>() < 0 || id.get<std::int64_t>() >= 1 << 20) {
            fail("has an added token that is not a text with an id: " + text.dump().substr(0, 80) +
                 ", " + id.dump().substr(0, 80));
        }
        const AddedToken token{text.get<std::string>(), id.get<std::int32_t>(), anyCase, wholeWord};
        if (isKnown(token)) return;
        if (token.id < kClipTokens) {
            fail("gives the id " + std::to_string(token.id) + " to '" + token.text +
                 "', which is one of CLIP's; learnt tokens have ids from " +
                 std::to_string(kClipTokens) + " on");
        }
        const auto [found, isNew] = byId_.emplace(token.id, token);
        if (!isNew && found->second.text != token.text) {
            fail("gives the id " + std::to_string(token.id) + " to '" + found->second.text +
                 "' and to '" + token.text + "'");
        }
        if (!isNew) found->second = token; // a later file says more about it
    }

    std::vector<AddedToken> tokens() const {
        std::vector<AddedToken> tokens;
        for (const auto &[id, token] : byId_) tokens.push_back(token);
        return tokens;
    }

    /// Special tokens are looked for before the prompt is put into lower case.
    void setSpecial(const Json &text) {
        for (auto &[id, token] : byId_) {
            if (text == Json(token.text)) token.anyCase = false;
        }
    }

    std::int32_t idOf(const std::string &text) const {
        const auto known = kKnownTokens.find(text);
        if (known != kKnownTokens.end()) return known->second;
        for (const auto &[id, token] : byId_) {
            if (token.text == text) return id;
        }
        throw Error("MODEL_UNSUPPORTED",
                    where_ + ": pad_token is '" + text +
                        "', which is none of the tokens that are known here",
                    {{"path", where_}});
    }

private:
    bool isKnown(const AddedToken &token) const {
        const auto known = kKnownTokens.find(token.text);
        return known != kKnownTokens.end() && known->second == token.id;
    }

    std::string where_;
    std::map<std::int32_t, AddedToken> byId_;
};

bool isTrue(const Json &object, const char *key) {
    const auto found = object.find(key);
    return found != object.end() && *found == true;
}

/// One of `added_tokens_decoder` or of tokenizer.json. What is normalised before it is looked for
/// is put into lower case, like the prompt.
void addDescribed(Gathered &gathered, const Json &token, const Json &id) {
    if (!token.is_object() || !token.contains("content")) {
        gathered.fail("has an added token that is no object with its content");
    }
    const bool anyCase = isTrue(token, "normalized") && !isTrue(token, "special");
    gathered.add(token["content"], id, anyCase, isTrue(token, "single_word"));
}

Json numberOf(const std::string &text) {
    const bool digits = !text.empty() && text.size() < 8 &&
                        text.find_first_not_of("0123456789") == std::string::npos;
    return digits ? Json(std::stoi(text)) : Json(text);
}

void addAll(Gathered &gathered, const Json &list) {
    if (!list.is_array()) gathered.fail("has added_tokens that are no list");
    for (const auto &token : list) {
        addDescribed(gathered, token, token.is_object() ? token.value("id", Json()) : Json());
    }
}

void addDecoder(Gathered &gathered, const Json &config) {
    const auto decoder = config.find("added_tokens_decoder");
    if (decoder == config.end()) return;
    if (!decoder->is_object()) gathered.fail("has an added_tokens_decoder that is no object");
    for (const auto &[id, token] : decoder->items()) {
        addDescribed(gathered, token, numberOf(id));
    }
}

/// Texts, or objects with their content.
void setSpecials(Gathered &gathered, const Json &config) {
    const Json list = config.value("additional_special_tokens", Json::array());
    for (const auto &token : list.is_array() ? list : Json::array()) {
        gathered.setSpecial(token.is_object() ? token.value("content", Json()) : token);
    }
}

class MergesHash {
public:
    void add(const std::string &text) {
        for (const char c : text) hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 0x100000001b3;
        hash_ = (hash_ ^ '\n') * 0x100000001b3;
    }
    std::uint64_t value() const { return hash_; }

private:
    std::uint64_t hash_ = 0xcbf29ce484222325;
};

std::uint64_t hashOfText(const std::string &merges) {
    MergesHash hash;
    std::istringstream lines(merges);
    for (std::string line; std::getline(lines, line);) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        if (!line.empty() && line.rfind("#version", 0) != 0) hash.add(line);
    }
    return hash.value();
}

/// As transformers write it through the years: "left right", or a list of the two.
std::uint64_t hashOfList(const Json &merges) {
    MergesHash hash;
    for (const auto &merge : merges.is_array() ? merges : Json::array()) {
        if (merge.is_string())
            hash.add(merge.get<std::string>());
        else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
                 merge[1].is_string()) {
            hash.add(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
        }
    }
    return hash.value();
}

/// The prompts are cut here by CLIP's merges, whatever the folder has.
void requireClip(const ModelFolder &model, const std::filesystem::path &folder, const Json &whole) {
    const auto text = folder / "merges.txt";
    const bool differs = (model.has(text) && hashOfText(model.text(text)) != kMergesHash) ||
                         (whole.contains("model") && whole["model"].is_object() &&
                          hashOfList(whole["model"].value("merges", Json())) != kMergesHash);
    if (!differs) return;
    throw Error(
        "MODEL_UNSUPPORTED",
        "'" + model.path(folder) +
            "' has another vocabulary than CLIP's, which is the one that prompts are cut by",
        {{"path", model.path(folder)}});
}

/// A file of a tokenizer, an object; empty if there is none.
Json readObject(const ModelFolder &model, const std::filesystem::path &path) {
    if (!model.has(path)) return Json::object();
    Json json = model.json(path);
    if (!json.is_object()) {
        throw Error("MODEL_FORMAT", "'" + model.path(path) + "' is not a JSON object",
                    {{"path", model.path(path)}});
    }
    return json;
}

std::optional<std::string> padToken(const Json &config) {
    const auto found = config.find("pad_token");
    if (found == config.end()) return std::nullopt;
    const Json text = found->is_object() ? found->value("content", Json()) : *found;
    return text.is_string() ? std::optional(text.get<std::string>()) : std::nullopt;
}

} // namespace

ModelConfig::Tokenizer readTokenizer(const ModelFolder &model, const std::string &name) {
    const std::filesystem::path folder = name;
    ModelConfig::Tokenizer tokenizer;
    if (!model.has(folder)) return tokenizer;
    const std::string where = "'" + model.path(folder) + "'";
    Gathered gathered(where);

    const Json added = readObject(model, folder / "added_tokens.json");
    for (const auto &[text, id] : added.items()) gathered.add(text, id, true, false);
    const Json whole = readObject(model, folder / "tokenizer.json");
    requireClip(model, folder, whole);
    if (whole.contains("added_tokens")) addAll(gathered, whole["added_tokens"]);
    for (const char *file : {"special_tokens_map.json", "tokenizer_config.json"}) {
        const Json config = readObject(model, folder / file);
        refuseOtherKeys(config, name + "/" + file, where + ", " + file);
        addDecoder(gathered, config);
        setSpecials(gathered, config);
        if (const auto text = padToken(config)) tokenizer.padding = gathered.idOf(*text);
    }
    tokenizer.added = gathered.tokens();
    return tokenizer;
}

void requireSameTokens(const ModelConfig::Tokenizer &first, const ModelConfig::Tokenizer &second,
                       const std::string &path) {
    const auto same = [](const AddedToken &a, const AddedToken &b) {
        return a.text == b.text && a.id == b.id;
    };
    if (std::equal(first.added.begin(), first.added.end(), second.added.begin(), second.added.end(),
                   same)) {
        return;
    }
    throw Error("MODEL_UNSUPPORTED",
                "'" + path +
                    "' has other learnt tokens in tokenizer/ than in tokenizer_2/; a prompt is cut "
                    "once for both text encoders",
                {{"path", path}});
}

Json tokenizerAsJson(const ModelConfig::Tokenizer &tokenizer) {
    Json json = Json::object();
    if (tokenizer.padding) json["pad_token_id"] = *tokenizer.padding;
    for (const AddedToken &token : tokenizer.added) {
        json["added_tokens"].push_back({{"id", token.id},
                                        {"content", token.text},
                                        {"normalized", token.anyCase},
                                        {"single_word", token.wholeWord}});
    }
    return json;
}

ModelConfig::Tokenizer tokenizerFromJson(const Json &json, const std::string &where) {
    Gathered gathered(where);
    if (!json.is_object()) gathered.fail("is not a JSON object");
    ModelConfig::Tokenizer tokenizer;
    if (json.contains("added_tokens")) addAll(gathered, json["added_tokens"]);
    tokenizer.added = gathered.tokens();
    const auto padding = json.find("pad_token_id");
    if (padding == json.end()) return tokenizer;
    if (!padding->is_number_integer() || padding->get<std::int64_t>() < 0 ||
        padding->get<std::int64_t>() >= 1 << 20) {
        gathered.fail("has a pad_token_id that is no id");
    }
    tokenizer.padding = padding->get<std::int32_t>();
    return tokenizer;
}

} // namespace magicmix
