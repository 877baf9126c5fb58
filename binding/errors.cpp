#include "errors.h"

#include <exception>
#include <new>

namespace magicmix::binding {

Napi::Error toJs(Napi::Env env, const Error &error) {
    Napi::Error result = Napi::Error::New(env, error.what());
    result.Set("code", Napi::String::New(env, error.code()));
    Napi::Object details = Napi::Object::New(env);
    for (const auto &[name, value] : error.details()) {
        if (const auto *text = std::get_if<std::string>(&value)) {
            details.Set(name, Napi::String::New(env, *text));
        } else {
            details.Set(name, Napi::Number::New(env, std::get<double>(value)));
        }
    }
    result.Set("details", details);
    return result;
}

Error currentError() {
    try {
        throw;
    } catch (const Error &error) {
        return error;
    } catch (const std::bad_alloc &) {
        return Error("OUT_OF_MEMORY", "the system refused an allocation");
    } catch (const std::exception &error) {
        return Error("INTERNAL", error.what());
    } catch (...) {
        return Error("INTERNAL", "an unknown exception was thrown");
    }
}

} // namespace magicmix::binding
