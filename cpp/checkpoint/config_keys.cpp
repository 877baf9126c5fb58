#include "checkpoint/config_keys.h"

#include <algorithm>
#include <iterator>
#include <sstream>

namespace magicmix {
namespace {

using Treatment = ConfigKey::Treatment;
constexpr Treatment kHonoured = Treatment::Honoured, kHarmless = Treatment::Harmless,
                    kOnly = Treatment::Only;

/// Keys with the same treatment for the same reason, and the files that have them, with white space
/// between them. A key that is accepted with some values only is followed by "=" and the JSON list
/// of these.
struct Group {
    const char *files;
    Treatment treatment;
    const char *why;
    const char *keys;
};

const Group kGroups[] = {
    // Several files have these.
    {"model_index.json unet/config.json vae/config.json scheduler/scheduler_config.json "
     "tinyDecoder/config.json",
     kHarmless, "a note of who wrote the file",
     R"(_diffusers_version _name_or_path _commit_hash _use_default_values)"},
    {"unet/config.json vae/config.json", kHarmless, "of the averaging in training",
     R"(decay inv_gamma min_decay optimization_step power update_after_step use_ema_warmup)"},
    {"unet/config.json vae/config.json text_encoder/config.json text_encoder_2/config.json", kOnly,
     "weights quantised by bitsandbytes and the like are not read; give the model in f16 or as "
     "GGUF",
     R"(quantization_config=[null])"},

    {"model_index.json", kHonoured, "says the family", R"(_class_name)"},
    {"model_index.json", kHarmless, "each has a configuration of its own",
     R"(unet vae text_encoder scheduler)"},
    {"model_index.json", kOnly, "the prompts are cut by CLIP's tokenizer", R"(
         tokenizer=[["transformers","CLIPTokenizer"],["transformers","CLIPTokenizerFast"],[null,null],null]
         tokenizer_2=[["transformers","CLIPTokenizer"],["transformers","CLIPTokenizerFast"],[null,null],null])"},
    {"model_index.json", kOnly, "the second text encoder of Stable Diffusion XL is of that class",
     R"(text_encoder_2=[["transformers","CLIPTextModelWithProjection"],[null,null],null])"},
    {"model_index.json", kHarmless, "pictures are not judged",
     R"(safety_checker feature_extractor requires_safety_checker)"},
    {"model_index.json", kOnly, "a picture is no prompt here",
     R"(image_encoder=[[null,null],null])"},
    {"model_index.json", kOnly, "there are two text encoders at most",
     R"(text_encoder_3=[[null,null],null] tokenizer_3=[[null,null],null])"},
    {"model_index.json", kOnly, "such a network is not used", R"(
         transformer=[[null,null],null] prior=[[null,null],null] decoder=[[null,null],null]
         controlnet=[[null,null],null] adapter=[[null,null],null])"},
    {"model_index.json", kHonoured, "whether an empty negative prompt is zeros",
     R"(force_zeros_for_empty_prompt)"},
    {"model_index.json", kHarmless,
     "pictures get no watermark, and the autoencoder says how it is computed",
     R"(add_watermarker force_upcast)"},
    {"model_index.json", kOnly, "it is the refiner of Stable Diffusion XL, which has no layout",
     R"(requires_aesthetics_score=[null,false])"},
    {"unet/config.json", kOnly, "the UNet is one of another class",
     R"(_class_name=["UNet2DConditionModel"])"},
    {"unet/config.json", kHonoured, "the side of the pictures of training", R"(sample_size)"},
    {"unet/config.json", kHonoured, "has to agree with the weights",
     R"(block_out_channels layers_per_block cross_attention_dim mid_block_type
         transformer_layers_per_block reverse_transformer_layers_per_block
         projection_class_embeddings_input_dim)"},
    {"unet/config.json", kHonoured,
     "the attention heads; the first of these has always meant their number in Stable Diffusion, "
     "the last is ours",
     R"(attention_head_dim num_attention_heads head_width)"},
    {"unet/config.json", kHonoured, "groups of the group norms", R"(norm_num_groups)"},
    {"unet/config.json", kHarmless, "the weights' shapes say it",
     R"(in_channels out_channels use_linear_projection)"},
    {"unet/config.json", kHarmless, "attention is computed in single precision in any case",
     R"(upcast_attention)"},
    {"unet/config.json", kHarmless, "of training", R"(dropout)"},
    {"unet/config.json", kHarmless, "for an addition_embed_type of text_time it has no meaning",
     R"(addition_embed_type_num_heads)"},
    {"unet/config.json", kOnly, "blocks of another kind compute something else", R"(
         down_block_types=["CrossAttnDownBlock2D","DownBlock2D"]
         up_block_types=["CrossAttnUpBlock2D","UpBlock2D"])"},
    {"unet/config.json", kOnly, "those of Stable Diffusion are computed", R"(
         act_fn=["silu","swish"] norm_eps=[1e-5] freq_shift=[0] flip_sin_to_cos=[true]
         center_input_sample=[false] downsample_padding=[1] mid_block_scale_factor=[1]
         conv_in_kernel=[3] conv_out_kernel=[3] resnet_time_scale_shift=["default"]
         resnet_skip_time_act=[false] resnet_out_scale_factor=[1]
         time_embedding_type=["positional"] attention_type=["default"])"},
    {"unet/config.json", kOnly, "those of Stable Diffusion are computed", R"(
         only_cross_attention=[false] dual_cross_attention=[null,false]
         mid_block_only_cross_attention=[null,false] cross_attention_norm=[null]
         class_embeddings_concat=[null,false]
         time_embedding_dim=[null] time_embedding_act_fn=[null] timestep_post_act=[null])"},
    {"unet/config.json", kOnly, "the UNet would take more than a latent and a prompt", R"(
         class_embed_type=[null] num_class_embeds=[null] encoder_hid_dim=[null]
         encoder_hid_dim_type=[null] time_cond_proj_dim=[null])"},
    {"unet/config.json", kOnly, "the added conditioning is that of Stable Diffusion XL, or none",
     R"(addition_embed_type=[null,"text_time"] addition_time_embed_dim=[null,256])"},
    {"vae/config.json", kOnly,
     "the autoencoder is one of another class; give one of Stable Diffusion with the option vae "
     "(an AutoencoderTiny belongs to the option tinyDecoder, beside it)",
     R"(_class_name=["AutoencoderKL"])"},
    {"vae/config.json", kHonoured, "the factor of latents", R"(scaling_factor)"},
    {"vae/config.json", kHonoured, "groups of the group norms", R"(norm_num_groups)"},
    {"vae/config.json", kHonoured, "has to agree with the weights",
     R"(block_out_channels layers_per_block)"},
    {"vae/config.json", kHonoured, "ours: from latents to the colours of previews",
     R"(latent_rgb)"},
    {"vae/config.json", kHarmless, "the weights' shapes say it", R"(latent_channels)"},
    {"vae/config.json", kHarmless, "the autoencoder takes any size", R"(sample_size)"},
    {"vae/config.json", kHarmless, "it is computed in single precision in any case",
     R"(force_upcast)"},
    {"vae/config.json", kOnly, "that of Stable Diffusion is computed", R"(
         in_channels=[3] out_channels=[3] act_fn=["silu"] down_block_types=["DownEncoderBlock2D"]
         up_block_types=["UpDecoderBlock2D"] use_quant_conv=[true] use_post_quant_conv=[true]
         mid_block_add_attention=[true] shift_factor=[null,0] latents_mean=[null]
         latents_std=[null])"},
    {"tinyDecoder/config.json", kOnly, "the autoencoder is none of the form of TAESD",
     R"(_class_name=["AutoencoderTiny"])"},
    {"tinyDecoder/config.json", kHonoured, "the factor of latents", R"(scaling_factor)"},
    {"tinyDecoder/config.json", kHonoured, "has to agree with the weights",
     R"(latent_channels decoder_block_out_channels num_decoder_blocks)"},
    {"tinyDecoder/config.json", kOnly, "that of TAESD is computed", R"(
         out_channels=[3] act_fn=["relu"] upsample_fn=["nearest"] upsampling_scaling_factor=[2]
         shift_factor=[null,0])"},
    {"tinyDecoder/config.json", kHarmless, "of the encoder, which is not used",
     R"(in_channels encoder_block_out_channels num_encoder_blocks)"},
    {"tinyDecoder/config.json", kHarmless, "diffusers repeats decoder_block_out_channels here",
     R"(block_out_channels)"},
    {"tinyDecoder/config.json", kHarmless, "of storing latents as pictures",
     R"(latent_magnitude latent_shift)"},
    {"tinyDecoder/config.json", kHarmless, "it takes any size", R"(sample_size)"},
    {"tinyDecoder/config.json", kHarmless, "it is computed in single precision in any case",
     R"(force_upcast)"},
    {"text_encoder/config.json text_encoder_2/config.json", kOnly,
     "the text encoder is one of another class", R"(
         architectures=["CLIPTextModel","CLIPTextModelWithProjection"]
         model_type=["clip_text_model"])"},
    {"text_encoder/config.json text_encoder_2/config.json", kOnly,
     "give the configuration of the text encoder alone",
     R"(text_config=[null] text_config_dict=[null] vision_config=[null] vision_config_dict=[null])"},
    {"text_encoder/config.json text_encoder_2/config.json", kHonoured, "the attention heads",
     R"(num_attention_heads)"},
    {"text_encoder/config.json text_encoder_2/config.json", kHonoured,
     "how many of the layers in the file are run", R"(num_hidden_layers)"},
    {"text_encoder/config.json text_encoder_2/config.json", kHonoured,
     "the activation of the feed-forward layers", R"(hidden_act)"},
    {"text_encoder/config.json text_encoder_2/config.json", kHarmless, "the weights' shapes say it",
     R"(hidden_size intermediate_size vocab_size)"},
    {"text_encoder/config.json text_encoder_2/config.json", kOnly,
     "that of Stable Diffusion is computed", R"(
         layer_norm_eps=[1e-5] max_position_embeddings=[77] is_decoder=[false]
         is_encoder_decoder=[false] add_cross_attention=[false] cross_attention_hidden_size=[null]
         pruned_heads=[{},null] chunk_size_feed_forward=[0])"},
    {"text_encoder/config.json text_encoder_2/config.json", kHarmless, "of training", R"(
         attention_dropout dropout initializer_factor initializer_range gradient_checkpointing
         use_cache)"},
    {"text_encoder/config.json text_encoder_2/config.json", kHarmless,
     "of comparing a text with a picture", R"(projection_dim logit_scale_init_value eos_token_id)"},
    {"text_encoder/config.json text_encoder_2/config.json", kHarmless, "the tokenizer says it",
     R"(bos_token_id pad_token_id sep_token_id decoder_start_token_id tokenizer_class prefix)"},
    {"text_encoder/config.json text_encoder_2/config.json", kHarmless,
     "of how transformers runs it", R"(
         _name_or_path _commit_hash transformers_version torch_dtype dtype torchscript use_bfloat16
         tf_legacy_loss _attn_implementation _attn_implementation_autoset
         _attn_implementation_internal attn_implementation return_dict output_attentions
         output_hidden_states tie_word_embeddings tie_encoder_decoder problem_type
         task_specific_params finetuning_task id2label label2id num_labels)"},
    {"text_encoder/config.json text_encoder_2/config.json", kHarmless, "of models that write text",
     R"(
         max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty
         temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
         encoder_no_repeat_ngram_size bad_words_ids num_return_sequences output_scores
         return_dict_in_generate forced_bos_token_id forced_eos_token_id remove_invalid_values
         exponential_decay_length_penalty suppress_tokens begin_suppress_tokens)"},
    {"scheduler/scheduler_config.json", kHonoured,
     "if it is there, what a file leaves out is as in DDIMScheduler", R"(_class_name)"},
    {"scheduler/scheduler_config.json", kHonoured, "the schedule of DDIMScheduler.from_config", R"(
         num_train_timesteps beta_start beta_end beta_schedule rescale_betas_zero_snr
         timestep_spacing steps_offset set_alpha_to_one clip_sample clip_sample_range
         prediction_type)"},
    {"scheduler/scheduler_config.json", kOnly, "only schedules between two betas are computed",
     R"(trained_betas=[null] timestep_values=[null])"},
    {"scheduler/scheduler_config.json", kOnly, "it is for models of pixels",
     R"(thresholding=[null,false])"},
    {"scheduler/scheduler_config.json", kHarmless, "without thresholding they have no meaning",
     R"(dynamic_thresholding_ratio sample_max_value)"},
    {"scheduler/scheduler_config.json", kOnly, "the model was trained to flow matching", R"(
         use_flow_sigmas=[null,false] shift=[null] shift_terminal=[null]
         use_dynamic_shifting=[null,false] base_shift=[null] max_shift=[null]
         stochastic_sampling=[null,false])"},
    {"scheduler/scheduler_config.json", kHarmless, "without use_flow_sigmas they have no meaning",
     R"(flow_shift time_shift_type base_image_seq_len max_image_seq_len)"},
    {"scheduler/scheduler_config.json", kOnly,
     "the model was trained to another schedule (EDM), as Playground 2.5 was",
     R"(
         timestep_type=[null,"discrete"] sigma_data=[null] sigma_max=[null] sigma_min=[null]
         sigma_schedule=[null] snr_shift_scale=[null])"},
    {"scheduler/scheduler_config.json", kOnly, "the UNet would predict a variance",
     R"(variance_type=[null,"fixed_small","fixed_small_log","fixed_large","fixed_large_log"])"},
    {"scheduler/scheduler_config.json", kHarmless, "of other samplers", R"(
         algorithm_type solver_order solver_type solver_p lower_order_final euler_at_final
         final_sigmas_type use_karras_sigmas use_exponential_sigmas use_beta_sigmas use_lu_lambdas
         lambda_min_clipped predict_x0 disable_corrector corrector_order predictor_order tau_func
         interpolation_type skip_prk_steps noise_sampler_seed original_inference_steps
         timestep_scaling eta rho)"},
    {"scheduler/scheduler_config.json", kHarmless, "of diffusers before 0.4", R"(tensor_format)"},
    {"scheduler/scheduler_config.json", kOnly, "prediction_type says it now",
     R"(predict_epsilon=[null,true])"},
    {"tokenizer/tokenizer_config.json tokenizer_2/tokenizer_config.json", kHonoured,
     "what fills a prompt up", R"(pad_token)"},
    {"tokenizer/tokenizer_config.json tokenizer_2/tokenizer_config.json", kOnly,
     "CLIP's tokens are used",
     R"(bos_token=["<|startoftext|>"] eos_token=["<|endoftext|>"] unk_token=["<|endoftext|>",null])"},
    {"tokenizer/tokenizer_config.json tokenizer_2/tokenizer_config.json", kHonoured,
     "learnt tokens", R"(added_tokens_decoder additional_special_tokens)"},
    {"tokenizer/tokenizer_config.json tokenizer_2/tokenizer_config.json", kOnly,
     "the prompts are cut by CLIP's tokenizer", R"(
         tokenizer_class=["CLIPTokenizer","CLIPTokenizerFast",null] do_lower_case=[true]
         add_prefix_space=[null,false] add_bos_token=[true] add_eos_token=[true]
         padding_side=[null,"right"] truncation_side=[null,"right"]
         split_special_tokens=[null,false] extra_special_tokens=[null,{},[]] auto_map=[null])"},
    {"tokenizer/tokenizer_config.json tokenizer_2/tokenizer_config.json", kHarmless,
     "77 tokens are what the text encoder takes", R"(model_max_length max_length)"},
    {"tokenizer/tokenizer_config.json tokenizer_2/tokenizer_config.json", kHarmless,
     "of turning tokens into text", R"(errors clean_up_tokenization_spaces)"},
    {"tokenizer/tokenizer_config.json tokenizer_2/tokenizer_config.json", kHarmless,
     "of how transformers reads it", R"(
         name_or_path _name_or_path special_tokens_map_file tokenizer_file processor_class use_fast
         from_slow legacy verbose backend is_local local_files_only trust_remote_code revision
         subfolder transformers_version tokenizers_version stride truncation_strategy
         pad_to_multiple_of pad_token_type_id model_input_names cache_dir force_download
         resume_download proxies token use_auth_token fix_mistral_regex)"},
    {"tokenizer/special_tokens_map.json tokenizer_2/special_tokens_map.json", kHonoured,
     "what fills a prompt up", R"(pad_token)"},
    {"tokenizer/special_tokens_map.json tokenizer_2/special_tokens_map.json", kOnly,
     "CLIP's tokens are used",
     R"(bos_token=["<|startoftext|>"] eos_token=["<|endoftext|>"] unk_token=["<|endoftext|>",null])"},
    {"tokenizer/special_tokens_map.json tokenizer_2/special_tokens_map.json", kHonoured,
     "learnt tokens", R"(additional_special_tokens)"},
    {"tokenizer/special_tokens_map.json tokenizer_2/special_tokens_map.json", kOnly,
     "CLIP's tokens are used", R"(extra_special_tokens=[null,{},[]])"},
    {"MODEL.yaml", kOnly, "models of Stable Diffusion predict the noise or the velocity",
     R"(model.params.parameterization=[null,"eps","v"])"},
    {"MODEL.yaml", kHonoured, "the schedule, in which linear means that of the roots", R"(
         model.params.linear_start model.params.linear_end model.params.timesteps
         model.params.denoiser_config.params.num_idx
         model.params.denoiser_config.params.discretization_config.params.linear_start
         model.params.denoiser_config.params.discretization_config.params.linear_end)"},
    {"MODEL.yaml", kOnly, "models of Stable Diffusion predict the noise or the velocity", R"(
         model.params.denoiser_config.target=["sgm.modules.diffusionmodules.denoiser.DiscreteDenoiser"]
         model.params.denoiser_config.params.scaling_config.target=["sgm.modules.diffusionmodules.denoiser_scaling.EpsScaling","sgm.modules.diffusionmodules.denoiser_scaling.VScaling"]
         model.params.denoiser_config.params.discretization_config.target=["sgm.modules.diffusionmodules.discretizer.LegacyDDPMDiscretization"])"},
    {"MODEL.yaml", kOnly,
     "the text encoders and sizes of Stable Diffusion XL are used (its refiner has one encoder and "
     "takes an aesthetic score)",
     R"(
         model.params.conditioner_config.target=["sgm.modules.GeneralConditioner"]
         model.params.conditioner_config.params.emb_models.input_key=["txt","original_size_as_tuple","crop_coords_top_left","target_size_as_tuple"]
         model.params.conditioner_config.params.emb_models.target=["sgm.modules.encoders.modules.FrozenCLIPEmbedder","sgm.modules.encoders.modules.FrozenOpenCLIPEmbedder2","sgm.modules.encoders.modules.ConcatTimestepEmbedderND"]
         model.params.conditioner_config.params.emb_models.params.layer=["hidden","penultimate"]
         model.params.conditioner_config.params.emb_models.params.layer_idx=[11]
         model.params.conditioner_config.params.emb_models.params.arch=["ViT-bigG-14"]
         model.params.conditioner_config.params.emb_models.params.always_return_pooled=[true]
         model.params.conditioner_config.params.emb_models.params.legacy=[false]
         model.params.conditioner_config.params.emb_models.params.max_length=[77]
         model.params.conditioner_config.params.emb_models.params.outdim=[256])"},
    {"MODEL.yaml", kHonoured, "has to agree with the weights",
     R"(model.params.network_config.params.adm_in_channels)"},
    {"MODEL.yaml", kHonoured, "the factor of latents", R"(model.params.scale_factor)"},
    {"MODEL.yaml", kHarmless, "it is 64 in those of models of 768 pixels, too",
     R"(model.params.image_size)"},
    {"MODEL.yaml", kHonoured, "the attention heads", R"(
         model.params.unet_config.params.num_heads
         model.params.unet_config.params.num_head_channels
         model.params.network_config.params.num_heads
         model.params.network_config.params.num_head_channels)"},
    {"MODEL.yaml", kOnly, "the model is one of another class", R"(
         model.target=["ldm.models.diffusion.ddpm.LatentDiffusion","sgm.models.diffusion.DiffusionEngine"]
         model.params.unet_config.target=["ldm.modules.diffusionmodules.openaimodel.UNetModel","sgm.modules.diffusionmodules.openaimodel.UNetModel"]
         model.params.network_config.target=["sgm.modules.diffusionmodules.openaimodel.UNetModel"]
         model.params.first_stage_config.target=["ldm.models.autoencoder.AutoencoderKL","sgm.models.autoencoder.AutoencoderKL","sgm.models.autoencoder.AutoencoderKLInferenceWrapper"]
         model.params.cond_stage_config.target=["ldm.modules.encoders.modules.FrozenCLIPEmbedder","ldm.modules.encoders.modules.FrozenOpenCLIPEmbedder"])"},
    {"MODEL.yaml", kOnly, "those of Stable Diffusion are computed", R"(
         model.params.beta_schedule=[null,"linear"] model.params.channels=[4]
         model.params.conditioning_key=["crossattn"] model.params.scale_by_std=[false]
         model.params.num_timesteps_cond=[null,1] model.params.given_betas=[null]
         model.params.learn_logvar=[false] model.params.logvar_init=[0]
         model.params.v_posterior=[0]
         model.params.unet_config.params.use_spatial_transformer=[true]
         model.params.unet_config.params.transformer_depth=[1]
         model.params.unet_config.params.legacy=[false] model.params.unet_config.params.dims=[2]
         model.params.unet_config.params.use_scale_shift_norm=[false]
         model.params.unet_config.params.resblock_updown=[false]
         model.params.unet_config.params.use_new_attention_order=[false]
         model.params.unet_config.params.num_classes=[null]
         model.params.unet_config.params.adm_in_channels=[null]
         model.params.network_config.params.num_classes=["sequential"]
         model.params.network_config.params.dims=[2]
         model.params.network_config.params.use_scale_shift_norm=[false]
         model.params.network_config.params.resblock_updown=[false]
         model.params.network_config.params.conv_resample=[true]
         model.params.network_config.params.disable_self_attentions=[null]
         model.params.unet_config.params.n_embed=[null]
         model.params.unet_config.params.conv_resample=[true]
         model.params.unet_config.params.disable_self_attentions=[null]
         model.params.first_stage_config.params.ddconfig.double_z=[true]
         model.params.first_stage_config.params.ddconfig.attn_resolutions=[[],null])"},
    {"MODEL.yaml", kOnly,
     "states behind the last layer of CLIP and behind the last but one of OpenCLIP are used; see "
     "the option clipSkip",
     R"(
         model.params.cond_stage_config.params.layer=[null,"last","penultimate"]
         model.params.cond_stage_config.params.layer_idx=[null])"},
    {"MODEL.yaml", kHarmless, "the weights' shapes say it", R"(
         model.params.unet_config.params.image_size model.params.unet_config.params.in_channels
         model.params.unet_config.params.out_channels
         model.params.unet_config.params.model_channels
         model.params.unet_config.params.attention_resolutions
         model.params.unet_config.params.num_res_blocks
         model.params.unet_config.params.channel_mult
         model.params.unet_config.params.use_linear_in_transformer
         model.params.unet_config.params.context_dim
         model.params.network_config.params.in_channels
         model.params.network_config.params.out_channels
         model.params.network_config.params.model_channels
         model.params.network_config.params.attention_resolutions
         model.params.network_config.params.num_res_blocks
         model.params.network_config.params.channel_mult
         model.params.network_config.params.use_linear_in_transformer
         model.params.network_config.params.transformer_depth
         model.params.network_config.params.transformer_depth_middle
         model.params.network_config.params.context_dim
         model.params.first_stage_config.params.embed_dim
         model.params.first_stage_config.params.ddconfig.z_channels
         model.params.first_stage_config.params.ddconfig.resolution
         model.params.first_stage_config.params.ddconfig.in_channels
         model.params.first_stage_config.params.ddconfig.out_ch
         model.params.first_stage_config.params.ddconfig.ch
         model.params.first_stage_config.params.ddconfig.ch_mult
         model.params.first_stage_config.params.ddconfig.num_res_blocks)"},
    {"MODEL.yaml", kHarmless, "of training", R"(
         model.base_learning_rate model.params.log_every_t model.params.first_stage_key
         model.params.cond_stage_key model.params.cond_stage_trainable model.params.monitor
         model.params.use_ema model.params.ckpt_path model.params.ignore_keys
         model.params.load_only_unet model.params.scheduler_config.* model.params.loss_type
         model.params.l_simple_weight model.params.original_elbo_weight model.params.clip_denoised
         model.params.unet_config.params.use_checkpoint model.params.unet_config.params.use_fp16
         model.params.unet_config.params.use_bf16 model.params.unet_config.params.dropout
         model.params.unet_config.params.num_heads_upsample
         model.params.network_config.params.use_checkpoint
         model.params.network_config.params.dropout
         model.params.network_config.params.spatial_transformer_attn_type
         model.params.denoiser_config.params.weighting_config.*
         model.params.conditioner_config.params.emb_models.is_trainable
         model.params.conditioner_config.params.emb_models.ucg_rate
         model.params.conditioner_config.params.emb_models.legacy_ucg_value
         model.params.conditioner_config.params.emb_models.params.version
         model.params.conditioner_config.params.emb_models.params.freeze
         model.params.conditioner_config.params.emb_models.params.device
         model.params.disable_first_stage_autocast model.params.log_keys
         model.params.sampler_config.* model.params.loss_fn_config.*
         model.params.optimizer_config.* model.params.network_wrapper
         model.params.en_and_decode_n_samples_a_time model.params.input_key
         model.params.first_stage_config.params.monitor
         model.params.first_stage_config.params.lossconfig.*
         model.params.first_stage_config.params.ddconfig.dropout
         model.params.first_stage_config.params.ddconfig.attn_type
         model.params.first_stage_config.params.ckpt_path model.params.cond_stage_config.params.*
         data.* lightning.*)"},
};

std::vector<std::string> wordsOf(const char *text) {
    std::istringstream words(text);
    return {std::istream_iterator<std::string>(words), {}};
}

std::vector<ConfigKey> expanded() {
    std::vector<ConfigKey> keys;
    for (const Group &group : kGroups) {
        for (const std::string &file : wordsOf(group.files)) {
            for (const std::string &word : wordsOf(group.keys)) {
                const std::size_t equals = std::min(word.find('='), word.size());
                keys.push_back({file, word.substr(0, equals), group.treatment,
                                word.substr(std::min(equals + 1, word.size())), group.why});
            }
        }
    }
    return keys;
}

} // namespace

const std::vector<ConfigKey> &configKeys() {
    static const std::vector<ConfigKey> keys = expanded();
    return keys;
}

} // namespace magicmix
