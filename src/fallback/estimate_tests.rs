//! Compares the estimate with the counts of two public tokenizers.

use super::*;

/// A text with its tokens in `o200k_base` and `cl100k_base`. The counts were made with js-tiktoken 1.0 from
/// npm, which contains the ranks of both: `new Tiktoken(ranks).encode(text).length`.
const SAMPLES: [(&str, &str, u64, u64); 12] = [
    (
        "english",
        "The gateway keeps a request until it knows who may answer it. When the first provider fails, the next one is asked, and the person who is waiting does not notice anything of it. Prices differ, and so do the places where data is stored; both are looked at before anything is sent.",
        60,
        60,
    ),
    (
        "german",
        "Das Gateway hält eine Anfrage fest, bis es weiß, wer sie beantworten darf. Fällt der erste Anbieter aus, wird der nächste gefragt, und wer wartet, bemerkt davon nichts. Die Preise unterscheiden sich ebenso wie die Orte, an denen Daten gespeichert werden; beides wird geprüft, bevor irgendetwas gesendet wird.",
        65,
        85,
    ),
    (
        "french",
        "La passerelle retient une requête jusqu'à ce qu'elle sache qui a le droit d'y répondre. Quand le premier fournisseur tombe en panne, on interroge le suivant, et la personne qui attend ne remarque rien. Les prix diffèrent, tout comme les lieux où les données sont conservées.",
        62,
        72,
    ),
    (
        "spanish",
        "La pasarela retiene una petición hasta saber quién puede responderla. Cuando falla el primer proveedor, se pregunta al siguiente, y quien espera no se da cuenta de nada. Los precios son distintos, y también los lugares donde se guardan los datos; ambas cosas se comprueban antes de enviar nada.",
        62,
        69,
    ),
    (
        "russian",
        "Шлюз удерживает запрос, пока не узнает, кто имеет право на него ответить. Если первый поставщик не отвечает, спрашивают следующего, и тот, кто ждёт, ничего не замечает. Цены различаются, как и места, где хранятся данные; и то и другое проверяется до отправки.",
        70,
        110,
    ),
    (
        "chinese",
        "网关会保留请求，直到知道谁可以回答。当第一个供应商失败时，会询问下一个，等待的人不会察觉到任何变化。价格各不相同，数据存放的地点也不同；在发送任何内容之前，这两者都会被检查。",
        60,
        85,
    ),
    (
        "japanese",
        "ゲートウェイは、誰が回答してよいかが分かるまでリクエストを保持します。最初の事業者が失敗すると次の事業者に問い合わせ、待っている人は何も気づきません。価格も、データが保存される場所も異なるため、送信する前に両方を確認します。",
        83,
        111,
    ),
    (
        "arabic",
        "تحتفظ البوابة بالطلب حتى تعرف من يحق له الإجابة عليه. وعندما يفشل المزود الأول يُسأل التالي، ولا يلاحظ المنتظر شيئًا من ذلك. تختلف الأسعار كما تختلف الأماكن التي تُحفظ فيها البيانات، ويُفحص كلاهما قبل إرسال أي شيء.",
        63,
        152,
    ),
    (
        "hindi",
        "गेटवे अनुरोध को तब तक रोके रखता है जब तक उसे पता न चल जाए कि कौन उसका उत्तर दे सकता है। जब पहला प्रदाता विफल होता है, तो अगले से पूछा जाता है, और प्रतीक्षा करने वाले को कुछ पता नहीं चलता। कीमतें अलग हैं और डेटा रखने के स्थान भी अलग हैं।",
        69,
        235,
    ),
    (
        "rust",
        "fn admits(&self, target: TargetId) -> bool {\n    let Some(candidate) = self.candidate(target) else { return false };\n    Gate::all().all(|gate| !self.is_closed(gate, candidate))\n}\n\nimpl Price {\n    pub const fn of(self, input: u64, output: u64) -> MicroDollars {\n        self.input.for_tokens(input).plus(self.output.for_tokens(output))\n    }\n}\n",
        90,
        91,
    ),
    (
        "python",
        "def admits(self, target):\n    candidate = self.candidates.get(target)\n    if candidate is None:\n        return False\n    for gate in GATES:\n        if self.is_closed(gate, candidate):\n            log.debug('%s does not pass %s', target, gate.name)\n            return False\n    return True\n",
        66,
        66,
    ),
    (
        "json",
        "{\"targets\": {\"gpt-a\": {\"account\": \"openai-a\", \"model\": \"gpt-4.1-mini\", \"weight\": 2, \"price\": {\"input\": 0.4, \"output\": 1.6}}, \"sonnet\": {\"provider\": \"anthropic\", \"model\": \"claude-sonnet-4-5\", \"quality\": 3}}, \"limits\": {\"max_body\": \"32MiB\", \"max_journeys\": 10000}}",
        105,
        106,
    ),
];

/// The estimate with its margin, in percent of a tokenizer's count.
fn percent(text: &str, tokens: u64) -> u64 {
    let size = PromptSize { text_bytes: text.len() as u64, ..PromptSize::default() };
    size.tokens() * 120 / tokens
}

#[test]
fn the_estimate_with_its_margin_is_never_far_too_low() {
    for (name, text, o200k, cl100k) in SAMPLES {
        let [new, old] = [o200k, cl100k].map(|tokens| percent(text, tokens));
        assert!((84..=300).contains(&new) && (84..=170).contains(&old), "{name}: {new} {old}");
    }
}

#[test]
fn the_documentation_gives_these_figures() {
    let reference = include_str!("../../docs/fallback.md");
    for (name, text, o200k, cl100k) in SAMPLES {
        let [new, old] = [o200k, cl100k].map(|tokens| percent(text, tokens));
        let row = format!("| {name} | {} | {o200k} | {new} % | {cl100k} | {old} % |", text.len());
        assert!(reference.contains(&row), "docs/fallback.md lacks\n{row}");
    }
}
