#pragma once

#include "base/error.h"

#include <napi.h>

/// How what goes wrong crosses the border: nothing is swallowed, nothing ends the process.
namespace magicmix::binding {

/// A JavaScript error with `code` and `details`.
Napi::Error toJs(Napi::Env env, const Error &error);

/// The exception that is being handled, as an error of ours. For a `catch (...)`.
Error currentError();

/// Runs `work` for a call from JavaScript and throws there what `work` throws.
template <typename Work>
auto orThrow(Napi::Env env, const Work &work) -> decltype(work()) {
    try {
        return work();
    } catch (const Napi::Error &) {
        throw;
    } catch (...) {
        throw toJs(env, currentError());
    }
}

} // namespace magicmix::binding
