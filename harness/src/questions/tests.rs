//! Every question's answer is a snapshot, and what the order of the lanes decides is known.

use super::{Order, QUESTIONS};

#[test]
fn every_question_has_its_verdict() {
    for question in QUESTIONS {
        let answer = question.answer(Order::Lanes);
        insta::with_settings!({
            snapshot_path => "../../../spec/questions",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, { insta::assert_snapshot!(question.name, answer.text()) });
    }
}
