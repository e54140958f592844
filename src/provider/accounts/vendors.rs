//! What vendors and relays call a dead account, one table each, every line with its source: a document of
//! the vendor, or a public report (repository#number).
//!
//! A code is compared as a whole; letter case does not matter. A phrase is in the form of
//! [`Wording`](crate::provider::wording::Wording). Lines that the general rule would find as well are here
//! if their vendor documents them. The sources are compiled into the tests only.

use crate::base::ErrorClass;

/// The lines of one vendor.
pub(super) struct Vendor {
    /// Its name in the documentation.
    #[cfg(test)]
    pub(super) name: &'static str,
    pub(super) codes: &'static [(&'static str, ErrorClass)],
    pub(super) phrases: &'static [(&'static str, ErrorClass)],
    /// The sources of the codes and then of the phrases.
    #[cfg(test)]
    pub(super) sources: &'static [&'static str],
}

/// `code class "source"` lines and `phrase class "source"` lines of each vendor.
macro_rules! vendors {
    ($($vendor:literal {
        codes { $($code:literal $code_class:ident $code_source:literal)* }
        phrases { $($phrase:literal $phrase_class:ident $phrase_source:literal)* }
    })*) => {
        pub(super) const VENDORS: &[Vendor] = &[$(Vendor {
            #[cfg(test)]
            name: $vendor,
            codes: &[$(($code, ErrorClass::$code_class)),*],
            phrases: &[$(($phrase, ErrorClass::$phrase_class)),*],
            #[cfg(test)]
            sources: &[$($code_source,)* $($phrase_source),*],
        }),*];
    };
}

vendors! {
    "OpenAI" {
        codes {
            "insufficient_quota" QuotaExhausted "OpenAI, error codes guide"
            "credit_balance_exhausted" QuotaExhausted "OpenAI, error codes guide"
            "organization_usage_limit_exceeded" QuotaExhausted "OpenAI, error codes guide"
            "organization_spend_limit_exceeded" QuotaExhausted "OpenAI, error codes guide"
            "project_spend_limit_exceeded" QuotaExhausted "OpenAI, error codes guide"
            "billing_hard_limit_reached" QuotaExhausted "OpenAI, images guide"
            "billing_not_active" QuotaExhausted "BerriAI/litellm#2743"
            "access_terminated" Auth "OpenAI, help centre"
            "account_deactivated" Auth "songquanpeng/one-api monitor/manage.go"
            "invalid_api_key" Auth "OpenAI, error codes guide"
            "usage_limit_reached" QuotaExhausted "router-for-me/CLIProxyAPI#1666"
            "usage_not_included" QuotaExhausted "openai/codex codex-rs, error type of a plan"
        }
        phrases {
            "your access was terminated" Auth "songquanpeng/one-api monitor/manage.go"
            "account associated with this api key has been deactivated" Auth "PKU-YuanGroup/WISE#9"
            "account is not active please check your billing details" QuotaExhausted "BerriAI/litellm#2743"
            "you do not have an account because it has been deleted or deactivated" Auth "Significant-Gravitas/AutoGPT#6230"
        }
    }
    "Azure OpenAI" {
        codes {
            "ReadOnlyDisabledSubscription" Auth "Azure Resource Manager, common errors"
        }
        phrases {
            "access denied due to invalid subscription key" Auth "Azure OpenAI, troubleshooting"
            "subscription is disabled" Auth "Azure Resource Manager, common errors"
            "your resource has been temporarily blocked" Auth "Azure OpenAI, abuse monitoring"
        }
    }
    "Anthropic" {
        codes {
            "billing_error" QuotaExhausted "Anthropic, errors"
            "authentication_error" Auth "Anthropic, errors"
        }
        phrases {
            "you have reached your specified api usage limits" QuotaExhausted "Anthropic, errors"
            "you have reached your specified workspace api usage limits" QuotaExhausted "Anthropic, errors"
            "your credit balance is too low" QuotaExhausted "songquanpeng/one-api monitor/manage.go"
            "organization has been disabled" Auth "better-ccflare#435"
            "oauth authentication is currently not allowed for this organization" Auth "claude-code#19028"
            "oauth token has been revoked" Auth "anthropics/claude-code, authentication errors"
            "your account does not have access to claude" Auth "anthropics/claude-code, authentication errors"
            "youre out of extra usage" QuotaExhausted "anthropics/claude-code, usage errors"
        }
    }
    "Gemini and Vertex AI" {
        codes {
            "CONSUMER_SUSPENDED" Auth "google/generative-ai-docs#356"
            "CONSUMER_INVALID" Auth "googleapis, error_reason.proto"
            "SERVICE_DISABLED" Auth "googleapis, error_reason.proto"
            "BILLING_DISABLED" QuotaExhausted "googleapis, error_reason.proto"
            "API_KEY_INVALID" Auth "Wei-Shaw/sub2api#1709"
            "API_KEY_EXPIRED" Auth "googleapis, error_reason.proto"
            "API_KEY_SERVICE_BLOCKED" Auth "googleapis, error_reason.proto"
            "API_KEY_HTTP_REFERRER_BLOCKED" Auth "googleapis, error_reason.proto"
            "API_KEY_IP_ADDRESS_BLOCKED" Auth "googleapis, error_reason.proto"
            "ACCESS_TOKEN_EXPIRED" Auth "googleapis, error_reason.proto"
            "ACCESS_TOKEN_TYPE_UNSUPPORTED" Auth "googleapis, error_reason.proto"
            "ACCOUNT_STATE_INVALID" Auth "googleapis, error_reason.proto"
            "USER_PROJECT_DENIED" Auth "googleapis, error_reason.proto"
            "RESOURCE_PROJECT_INVALID" Auth "googleapis, error_reason.proto"
        }
        phrases {
            "your project has been denied access" Auth "gemini-api#8"
            "your api key was reported as leaked" Auth "continuedev/continue#10513"
            "api key not valid" Auth "songquanpeng/one-api monitor/manage.go"
            "api key not found" Auth "Wei-Shaw/sub2api#1709"
            "api key expired" Auth "songquanpeng/one-api monitor/manage.go"
            "has not been used in project" Auth "googleapis, SERVICE_DISABLED"
            "this api method requires billing to be enabled" QuotaExhausted "googleapis, BILLING_DISABLED"
            "your prepayment credits are depleted" QuotaExhausted "Gemini API, billing"
        }
    }
    "Amazon Bedrock" {
        codes {
            "unrecognizedclientexception" Auth "AWS, common errors"
            "expiredtokenexception" Auth "AWS, common errors"
            "invalidsignatureexception" Auth "AWS, common errors"
            "invalidclienttokenid" Auth "AWS, common errors"
            "missingauthenticationtokenexception" Auth "AWS, common errors"
            "optinrequired" Auth "AWS, common errors"
        }
        phrases {
            "invalid payment instrument" QuotaExhausted "Tracer-Cloud/opensre#1812"
            "your account is not authorized to invoke this api operation" Auth "amazon-bedrock-client-for-mac#1"
            "the security token included in the request is invalid" Auth "new-api operation_setting.go"
            "the security token included in the request is expired" Auth "AWS, common errors"
        }
    }
    "Cohere" {
        codes {}
        phrases {
            "limited to 1000 api calls month" QuotaExhausted "Cohere, rate limits"
            "invalid api token" Auth "Cohere, errors"
            "your api key has expired" Auth "Cohere, errors"
            "please add or update your payment method" QuotaExhausted "Cohere, errors"
        }
    }
    "Groq" {
        codes {
            "organization_restricted" Auth "songquanpeng/one-api#1764"
            "blocked_api_access" QuotaExhausted "Groq, spend limits"
        }
        phrases {
            "organization has been restricted" Auth "crewAIInc/crewAI#783"
        }
    }
    "Together AI" {
        codes {
            "credit_limit" QuotaExhausted "Together, error codes"
        }
        phrases {
            "credit limit exceeded" QuotaExhausted "Together, error codes"
            "your together ai account needs a credit card on file" QuotaExhausted "Nutlope/logocreator#10"
        }
    }
    "Fireworks AI" {
        codes {}
        phrases {
            "is suspended possibly due to reaching the monthly spending limit" QuotaExhausted "FerroxLabs/wayland#545"
            "reaching the monthly spending limit" QuotaExhausted "theopenco/llmgateway#3838"
        }
    }
    "DeepSeek" {
        codes {}
        phrases {
            "insufficient balance" QuotaExhausted "continuedev/continue#9853"
            "authentication fails" Auth "DeepSeek, error codes"
        }
    }
    "Moonshot" {
        codes {
            "exceeded_current_quota_error" QuotaExhausted "infiniflow/ragflow#1048"
            "invalid_authentication_error" Auth "Moonshot, error codes"
            "incorrect_api_key_error" Auth "Moonshot, error codes"
        }
        phrases {
            "not active current state suspended" QuotaExhausted "infiniflow/ragflow#1048"
            "is suspended please check your plan and billing details" QuotaExhausted "Moonshot, error codes"
        }
    }
    "Zhipu and Z.AI" {
        codes {
            "1110" Auth "Z.AI, error codes"
            "1111" Auth "Z.AI, error codes"
            "1112" Auth "Z.AI, error codes"
            "1113" QuotaExhausted "langgenius/dify#5850"
            "1121" Auth "Z.AI, error codes"
            "1308" QuotaExhausted "Z.AI, error codes of coding plans"
            "1309" QuotaExhausted "Z.AI, error codes of coding plans"
            "1310" QuotaExhausted "Z.AI, error codes of coding plans"
        }
        phrases {
            "your account is in arrears" QuotaExhausted "Z.AI, error codes"
            "insufficient balance or no resource package" QuotaExhausted "vercel/ai#9290"
            "account has irregular activities and has been locked" Auth "Z.AI, error codes"
            "余额不足或无可用资源包" QuotaExhausted "vercel/ai#9290"
            "您的账户已欠费" QuotaExhausted "langgenius/dify#5850"
        }
    }
    "MiniMax" {
        codes {
            "1008" QuotaExhausted "MiniMax, error codes"
            "2049" Auth "MiniMax, error codes"
            "2056" QuotaExhausted "MiniMax, error codes"
            "insufficient_balance_error" QuotaExhausted "MiniMax, error codes"
        }
        phrases {
            "login fail please carry the api secret key" Auth "MiniMax, error codes"
            "not authorized token not match group" Auth "MiniMax, error codes"
        }
    }
    "Alibaba Model Studio" {
        codes {
            "Arrearage" QuotaExhausted "alibaba/spring-ai-alibaba#1146"
            "BIL.UserArrears" QuotaExhausted "Model Studio, agent errors"
            "PrepaidBillOverdue" QuotaExhausted "Model Studio, error codes"
            "PostpaidBillOverdue" QuotaExhausted "Model Studio, error codes"
            "CommodityNotPurchased" QuotaExhausted "Model Studio, error codes"
            "InvalidApiKey" Auth "Model Studio, error codes"
            "AllocationQuota.FreeTierOnly" ModelQuota "Model Studio, error codes"
        }
        phrases {
            "access denied please make sure your account is in good standing" QuotaExhausted "tencentmusic/supersonic#1572"
            "access denied due to overdue account" QuotaExhausted "RooCodeInc/Roo-Code#12309"
            "the free tier of the model has been exhausted" ModelQuota "Model Studio, error codes"
        }
    }
    "Baidu Qianfan" {
        codes {
            "invalid_iam_token" Auth "Qianfan V2, error codes"
            "BILLING_INSUFFICIENT_BALANCE" QuotaExhausted "Baidu AI search, error codes"
            "QUOTA_USER_DAILY_FREE" QuotaExhausted "Baidu AI search, error codes"
        }
        phrases {
            "open api daily request limit reached" QuotaExhausted "songquanpeng/one-api#1503"
            "access token invalid or no longer valid" Auth "Qianfan, error codes"
            "access token expired" Auth "Qianfan, error codes"
            "iam certification failed" Auth "Qianfan V2, error codes"
        }
    }
    "Huawei ModelArts" {
        codes {
            "ModelArts.81019" QuotaExhausted "ModelArts token plan, error codes"
            "ModelArts.81021" QuotaExhausted "ModelArts token plan, error codes"
            "ModelArts.81022" QuotaExhausted "ModelArts token plan, error codes"
            "ModelArts.81023" Auth "ModelArts token plan, error codes"
        }
        phrases {
            "you have no valid token plan subscription" QuotaExhausted "ModelArts token plan, error codes"
            "your token plan quota has been exhausted" QuotaExhausted "ModelArts token plan, error codes"
        }
    }
    "Volcengine Ark" {
        codes {
            "AccountOverdueError" QuotaExhausted "Ark, error codes"
            "OperationDenied.ServiceOverdue" QuotaExhausted "Ark, error codes"
            "AuthenticationError" Auth "Ark, error codes"
            "SetLimitExceeded" ModelQuota "Ark, error codes"
        }
        phrases {
            "has exhausted its free trial quota" ModelQuota "Ark, error codes"
            "your account balance is overdue" QuotaExhausted "Ark, error codes"
            "your account has an overdue balance" QuotaExhausted "Ark, error codes"
            "当前账号欠费" QuotaExhausted "Ark, error codes"
        }
    }
    "StepFun" {
        codes {}
        phrases {
            "account balance is insufficient" QuotaExhausted "StepFun, error codes"
        }
    }
    "SiliconFlow" {
        codes {
            "30001" QuotaExhausted "SiliconFlow, error handling"
        }
        phrases {
            "sorry your account balance is insufficient" QuotaExhausted "SiliconFlow, error handling"
        }
    }
    "xAI" {
        codes {
            "personal-team-blocked:spending-limit" QuotaExhausted "warp#14867"
        }
        phrases {
            "has either used all available credits or reached its monthly spending limit" QuotaExhausted "warp#14867"
            "doesnt have any credits" QuotaExhausted "xAI, billing"
            "you have run out of credits" QuotaExhausted "xAI, reports of 402"
            "incorrect api key provided" Auth "xAI, debugging errors"
        }
    }
    "OpenRouter" {
        codes {}
        phrases {
            "key limit exceeded" QuotaExhausted "gptme/gptme#1449"
            "api key credit limit reached" QuotaExhausted "Aider-AI/aider#2143"
            "no auth credentials found" Auth "OpenRouter, errors"
            "insufficient credits" QuotaExhausted "OpenRouter, errors"
            "user not found" Auth "OpenRouter, errors"
        }
    }
    "Novita AI" {
        codes {
            "NOT_ENOUGH_BALANCE" QuotaExhausted "huggingface/hub-docs#2392"
            "BILLING_AUTH_FAILED" QuotaExhausted "Novita, error codes"
            "NEED_REAL_NAME_VERIFY" Auth "Novita, error codes"
            "BILLING_BALANCE_NOT_ENOUGH" QuotaExhausted "Novita, error codes"
        }
        phrases {
            "not enough balance" QuotaExhausted "Novita, error codes"
        }
    }
    "DeepInfra" {
        codes {}
        phrases {
            "inference prohibited please enter a payment method" QuotaExhausted "DeepInfra, reports of 402"
        }
    }
    "Replicate" {
        codes {}
        phrases {
            "you have insufficient credit to run" QuotaExhausted "Replicate, billing"
            "monthly spend limit reached" QuotaExhausted "Replicate, billing"
            "free time limit reached" QuotaExhausted "Replicate, billing"
        }
    }
    "Cerebras" {
        codes {
            "payment_required" QuotaExhausted "Cerebras, error codes"
            "wrong_api_key" Auth "Cerebras, error codes"
        }
        phrases {}
    }
    "IBM watsonx" {
        codes {
            "token_quota_reached" QuotaExhausted "watsonx.ai, error codes"
            "authentication_token_expired" Auth "watsonx.ai, error codes"
            "no_associated_service_instance_error" Auth "watsonx.ai, error codes"
        }
        phrases {
            "provided api key could not be found" Auth "IBM Cloud IAM, BXNIM0415E"
        }
    }
    "Cloudflare Workers AI" {
        codes {
            "4006" QuotaExhausted "diegosouzapw/OmniRoute#6980"
            "3036" QuotaExhausted "Workers AI, errors"
            "3023" Auth "Workers AI, errors"
        }
        phrases {
            "you have used up your daily free allocation" QuotaExhausted "diegosouzapw/OmniRoute#6980"
        }
    }
    "GitHub Copilot" {
        codes {
            "quota_exceeded" QuotaExhausted "GitHub Copilot, reports of 402"
        }
        phrases {
            "you have exceeded your premium request allowance" QuotaExhausted "GitHub Copilot, reports of 402"
        }
    }
    "Vercel AI Gateway" {
        codes {
            "customer_verification_required" QuotaExhausted "0xzr/freellmpool#117"
            "insufficient_funds" QuotaExhausted "Vercel AI Gateway, errors"
        }
        phrases {
            "requires a valid credit card on file" QuotaExhausted "arlanrakh/talk-to-girlfriend-ai#6"
            "free credits temporarily have restricted access" QuotaExhausted "Aider-AI/aider#4495"
        }
    }
    "one-api and new-api" {
        codes {
            "insufficient_user_quota" QuotaExhausted "dismech#11691"
            "pre_consume_token_quota_failed" QuotaExhausted "new-api, types/error.go"
        }
        phrases {
            "用户额度不足" QuotaExhausted "AiHubMix, error codes"
            "用户余额不足" QuotaExhausted "AiHubMix, error codes"
            "该令牌额度已用尽" QuotaExhausted "songquanpeng/one-api model/token.go"
            "该令牌状态不可用" Auth "QuantumNous/new-api#3302"
            "该令牌已过期" Auth "songquanpeng/one-api model/token.go"
            "用户已被封禁" Auth "AiHubMix, error codes"
            "无效的令牌" Auth "Huanshere/VideoLingo#36"
        }
    }
    "sub2api and CLI relays" {
        codes {
            "INSUFFICIENT_BALANCE" QuotaExhausted "Wei-Shaw/sub2api#890"
            "MONTHLY_REQUEST_COUNT" QuotaExhausted "chaogei/Kiro-account-manager#27"
            "TEMPORARILY_SUSPENDED" Auth "kirodotdev/Kiro#7055"
        }
        phrases {
            "insufficient account balance" QuotaExhausted "Wei-Shaw/sub2api#890"
            "weve locked your account as a security precaution" Auth "kirodotdev/Kiro#7055"
        }
    }
    "LiteLLM proxy" {
        codes {
            "budget_exceeded" QuotaExhausted "BerriAI/litellm#40002"
            "expired_key" Auth "LiteLLM, virtual keys"
        }
        phrases {
            "budget has been exceeded" QuotaExhausted "BerriAI/litellm#22726"
            "crossed budget" ModelQuota "BerriAI/litellm#14144"
            "key is blocked" Auth "LiteLLM, virtual keys"
            "authentication error expired key" Auth "LiteLLM, virtual keys"
        }
    }
    "NVIDIA NIM" {
        codes {}
        phrases {
            "cloud credits expired please contact nvidia representatives" QuotaExhausted "NVIDIA developer forum"
        }
    }
    "Hugging Face" {
        codes {}
        phrases {
            "you have exceeded your monthly included credits" QuotaExhausted "huggingface/agents-course#386"
            "you have depleted your monthly included credits" QuotaExhausted "huggingface, inference providers pricing"
            "pre paid credits are required" QuotaExhausted "huggingface, inference providers pricing"
        }
    }
    "Glean" {
        codes {
            "spend_limit_exceeded" QuotaExhausted "Glean, spend limit exceeded"
        }
        phrases {}
    }
    "Prime Intellect" {
        codes {}
        phrases {
            "insufficient balance including overdraft" QuotaExhausted "PrimeIntellect-ai/prime-agent#1454"
        }
    }
    "OpenCode Zen" {
        codes {
            "FreeUsageLimitError" ModelQuota "anomalyco/opencode#42977"
        }
        phrases {}
    }
    "LaoZhang API" {
        codes {}
        phrases {
            "please confirm account credit" QuotaExhausted "LaoZhang API, insufficient balance"
        }
    }
    "Venice" {
        codes {}
        phrases {
            "insufficient usd or diem balance" QuotaExhausted "osaurus-ai/osaurus#2431"
        }
    }
    "Snowflake Cortex" {
        codes {}
        phrases {
            "your account is suspended due to lack of payment method" QuotaExhausted "xlang-ai/Spider2#210"
        }
    }
}

#[cfg(test)]
#[path = "vendors_tests.rs"]
mod tests;
