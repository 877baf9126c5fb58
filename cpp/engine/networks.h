#pragma once

#include "base/cancellation.h"
#include "base/progress.h"
#include "diffusion/schedule.h"
#include "engine/load_options.h"
#include "model/autoencoder.h"
#include "model/placed.h"
#include "model/sessions.h"
#include "model/text_encoder.h"
#include "model/tiny_decoder.h"
#include "model/unet.h"
#include "tensor/device.h"
#include "tensor/weights.h"

#include <array>
#include <optional>
#include <set>
#include <string>

namespace magicmix {

/// The weights of networks that belong together, and the device on which they lie.
struct Station {
    Device &device;
    Precision precision;
    Weights weights;
};

/// The networks of a model on their devices: all on one, or the text encoder or the autoencoder on
/// the CPU.
class Networks {
public:
    /// Declares the networks' weights; `source` says which of them are quantised.
    Networks(const Architecture &architecture, const LoadOptions &options,
             const WeightSource &source);

    Architecture architecture;

    /// As the family has them.
    std::vector<Placed<TextEncoder>> texts();
    Placed<UNet> unet() { return placed(unetStation_, unet_); }
    Placed<Autoencoder> vae() { return placed(vaeStation_, vae_); }
    bool hasTinyDecoder() const { return tinyDecoder_.has_value(); }
    /// Only if there is one. It lies with the autoencoder.
    Placed<TinyDecoder> tinyDecoder() { return placed(vaeStation_, *tinyDecoder_); }
    /// The device of the UNet.
    const Device &device() const { return main_; }
    const Device &textDevice() const { return textStation_.device; }
    const Device &vaeDevice() const { return vaeStation_.device; }
    Precision precision() const { return unetStation_.precision; }
    /// The prediction type of the UNet; set by the time that the weights are loaded.
    Prediction prediction() const { return *architecture.schedule.prediction; }
    const Schedule &schedule() const { return architecture.schedule; }

    /// The text encoders' first.
    std::vector<Weights *> weights();
    Weights &textWeights() { return textStation_.weights; }
    /// Elements of the tensors that start with `prefix`.
    std::uint64_t parameters(const std::string &prefix) const;
    /// Bytes that the weights take on all devices.
    std::uint64_t bytes() const;
    /// Of these, bytes of the text encoders.
    std::uint64_t textBytes() const { return textStation_.weights.bytes(); }

    /// Of all tensors that the networks use.
    std::set<std::string> names() const;
    /// Checks every shape. Throws `MODEL_FORMAT` naming the tensor.
    void check(const WeightSource &source) const;
    /// All but those of text encoders that are not kept.
    void load(const WeightSource &source, const Cancellation &cancel,
              const ProgressCallback &progress);
    /// Are the text encoders in memory all the time?
    bool keepsTexts() const { return keepsTexts_; }
    /// Throws `OUT_OF_MEMORY`.
    void loadTexts(const WeightSource &source, const Cancellation &cancel);

    /// Bytes that a mix of the native size takes beside the weights, before these are loaded.
    std::uint64_t nativeWorkingBytes();
    /// Before anything large is read: would the weights, and a mix of the native size, fit?
    /// Throws `OUT_OF_MEMORY`.
    void requireMemoryToLoad();
    /// Before hours are spent on a picture that cannot be decoded in the end. What is not larger
    /// than the native size, and takes one session of the UNet, was found to fit when the model was
    /// loaded. `withTinyDecoder`: with previews of it. Throws `OUT_OF_MEMORY`.
    void requireMemoryToMix(PixelSize size, const std::vector<UNetUse> &sessions,
                            bool withTinyDecoder);

private:
    /// Peak memory of a mix, beside the weights, by device.
    struct WorkingMemory {
        std::uint64_t main = 0, cpu = 0;
    };

    template <typename Network>
    static Placed<Network> placed(Station &station, const Network &network) {
        return {station.device, station.precision, network};
    }
    Device &deviceFor(bool onCpu) { return onCpu && cpu_ ? *cpu_ : main_; }
    std::array<Station *, 3> stations();
    std::array<const Station *, 3> stations() const;
    WorkingMemory measure(PixelSize size, const std::vector<UNetUse> &sessions,
                          bool withTinyDecoder);
    WorkingMemory measureBeforeLoading();

    Device main_;
    std::optional<Device> cpu_; // beside a GPU, where something is kept on the CPU
    bool keepsTexts_;
    Station textStation_, unetStation_, vaeStation_;
    std::vector<TextEncoder> texts_;
    UNet unet_;
    Autoencoder vae_;
    std::optional<TinyDecoder> tinyDecoder_;
};

} // namespace magicmix
