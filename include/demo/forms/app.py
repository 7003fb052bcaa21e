"""The forms that health workers fill in in the app."""

from __future__ import annotations

from include.demo.forms.questions import (
    YES_NO,
    Choice,
    Form,
    Group,
    Question,
    calculated,
    date,
    decimal,
    hidden,
    integer,
    note,
    one_of,
    some_of,
    text,
    typed,
    yes_no,
)
from include.demo.names import STOCK, VACCINES

SIGNS: tuple[Choice, ...] = (
    ("vaginal_bleeding", "Vaginal bleeding", "Kutokwa na damu ukeni"),
    ("fits", "Fits", "Degedege"),
    ("severe_headache", "Severe headache", "Maumivu makali ya kichwa"),
)
SYMPTOM_CHOICES: tuple[Choice, ...] = (
    ("fever", "Fever", "Homa"),
    ("cough", "Cough", "Kikohozi"),
    ("diarrhoea", "Diarrhoea", "Kuhara"),
    ("fast_breathing", "Fast breathing", "Kupumua haraka"),
    ("vomiting", "Vomiting", "Kutapika"),
    ("convulsions", "Convulsions", "Degedege"),
    ("rash", "Rash", "Upele"),
)
RISKS: tuple[Choice, ...] = (
    ("first_pregnancy", "First pregnancy", "Mimba ya kwanza"),
    ("many_children", "More than four children", "Watoto zaidi ya wanne"),
    ("close_births", "Last birth less than a year ago", "Alijifungua chini ya mwaka mmoja uliopita"),
    ("none", "None of them", "Hakuna"),
)
SEXES: tuple[Choice, ...] = (("female", "Female", "Mwanamke"), ("male", "Male", "Mwanamume"))
ITEMS: tuple[Choice, ...] = tuple((name, name.replace("_", " ").capitalize(), _swahili) for name, _swahili in zip(
    STOCK,
    ("Parasetamoli", "ORS", "Zinki", "ALu 6", "ALu 12", "Amoksilini", "Kipimo cha malaria", "Glavu", "Klorheksidini"),
    strict=True,
))  # fmt: skip


def _inputs(of: str) -> Group:
    """What a form is opened with; the app copies the contact into it."""
    location = Group("location", hidden("lat", "long", "error", "message"))
    meta = Group("meta", (location, Group("deprecated", hidden("deviceID", "userID"))))
    contact = Group(
        "contact",
        (
            Question("_id", f"db:{of}", "input", ("Who is it about?", "Ni kuhusu nani?")),
            *hidden("name"),
            *(hidden("patient_id") if of == "person" else ()),
        ),
    )
    return Group(
        "inputs", (meta, *hidden("source", "source_id"), contact), ("Patient", "Mgonjwa"), relevant="./source = 'user'"
    )


def _patient() -> tuple[Question, ...]:
    return (
        calculated("patient_uuid", "../inputs/contact/_id"),
        calculated("patient_name", "../inputs/contact/name"),
        calculated("patient_id", "../inputs/contact/patient_id"),
        calculated("visited_contact_uuid", "../inputs/contact/parent/_id"),
        calculated(
            "patient_age_in_years", "floor(difference-in-months(../inputs/contact/date_of_birth, today()) div 12)"
        ),
    )


def pregnancy(version: int = 2) -> Form:
    """Return the registration of a pregnancy.

    :param version: 1, or 2: that asks for haemoglobin and malaria medicine too, no longer for iron and folic acid, and
        for the number of visits where the first has ranges to choose from.
    """
    visits: Question = one_of(
        "visits", "Visits to the clinic so far", "Ziara za kliniki hadi sasa",
        (("none", "None", "Hakuna"), ("1_3", "1 to 3", "1 hadi 3"), ("4_plus", "4 or more", "4 au zaidi")),
    )  # fmt: skip
    practices = [yes_no("llin_use", "Does she sleep under a net?", "Je, analala chini ya chandarua?")]
    tests: list[Question | Group] = []
    if version == 1:
        practices.append(yes_no("iron_folate", "Does she take iron and folic acid?", "Je, anatumia madini ya chuma?"))
    else:
        visits = integer("visits", "How many visits to the clinic so far?", "Ziara ngapi za kliniki hadi sasa?")
        practices.append(yes_no("malaria_medicine", "Does she take malaria medicine?", "Je, anatumia dawa ya malaria?"))
        tests.append(decimal("haemoglobin", "Haemoglobin (g/dl)", "Himoglobini (g/dl)"))
    items: tuple[Question | Group, ...] = (
        _inputs("person"),
        *_patient(),
        Group(
            "gestational_age",
            (
                one_of("method", "How do you know?", "Unajuaje?", (
                    ("lmp", "Last menstrual period", "Hedhi ya mwisho"), ("weeks", "Her card", "Kadi yake"),
                )),
                date("lmp_date", "First day of the last menstrual period", "Siku ya kwanza ya hedhi ya mwisho"),
                integer("weeks", "Weeks of pregnancy", "Wiki za ujauzito"),
                calculated("edd", "format-date(add-date(../lmp_date, 280), '%Y-%m-%d')"),
                note("edd_note", "The baby is expected on that day.", "Mtoto anatarajiwa siku hiyo."),
            ),
            ("How far is the pregnancy?", "Ujauzito una muda gani?"),
        ),
        Group("anc_visits_hf", (Group("past", (visits,)),), ("Visits to the clinic", "Ziara za kliniki")),
        some_of("risk_factors", "What applies to her?", "Ni yapi yanamhusu?", RISKS),
        Group("danger_signs", tuple(yes_no(*each) for each in SIGNS), ("Danger signs", "Dalili za hatari")),
        Group("safe_pregnancy_practices", tuple(practices), ("At home", "Nyumbani")),
        *tests,
        Group("summary", (note("r_note", "Thank her.", "Mshukuru."), calculated("r_followup", "'true'"))),
    )  # fmt: skip
    return Form("pregnancy", ("Pregnancy registration", "Usajili wa ujauzito"), items, "pregnancy")


def _home_visit() -> Form:
    options: tuple[Choice, ...] = (
        *YES_NO, ("migrated", "She moved away", "Amehama"), ("ended", "The pregnancy ended", "Ujauzito umekwisha"),
    )  # fmt: skip
    items: tuple[Question | Group, ...] = (
        _inputs("person"),
        *_patient(),
        Group(
            "pregnancy_summary",
            (
                one_of("visit_option", "Could you visit her?", "Je, umemtembelea?", options),
                yes_no("g_age_correct", "Is the age of the pregnancy right?", "Je, umri wa ujauzito ni sahihi?"),
                date("lmp_updated", "Else, the last menstrual period", "La sivyo, hedhi ya mwisho"),
            ),
            ("The visit", "Ziara"),
        ),
        Group(
            "anc_visits_hf",
            (
                integer("count", "Visits to the clinic since", "Ziara za kliniki tangu hapo"),
                date("next_date", "Next appointment", "Miadi ijayo"),
            ),
        ),
        Group(
            "danger_signs",
            (
                some_of("signs", "Which danger signs has she?", "Ana dalili gani za hatari?", SIGNS),
                calculated("r_danger_sign_present", "if(string-length(../signs) > 0, 'yes', 'no')"),
                note("congratulate_no_ds_note", "None: well done.", "Hakuna: hongera."),
            ),
            ("Danger signs", "Dalili za hatari"),
        ),
        typed("place", "geopoint", "Where are you?", "Uko wapi?"),
    )
    return Form(
        "pregnancy_home_visit", ("Pregnancy home visit", "Ziara ya nyumbani ya ujauzito"), items, "pregnancy_home_visit"
    )


def _delivery() -> Form:
    places: tuple[Choice, ...] = (
        ("health_facility", "Health facility", "Kituo cha afya"),
        ("home", "At home", "Nyumbani"),
        ("other", "Elsewhere", "Kwingine"),
    )
    conditions: tuple[Choice, ...] = (
        ("alive_well", "Alive and well", "Hai na mzima"), ("alive_unwell", "Alive and unwell", "Hai na mgonjwa")
    )  # fmt: skip
    days: tuple[Choice, ...] = tuple((day, f"Day {day}", f"Siku ya {day}") for day in ("1", "3", "7", "42"))
    baby = (
        one_of("baby_condition", "How is the baby?", "Mtoto yukoje?", conditions),
        text("baby_name", "Name", "Jina"),
        one_of("baby_sex", "Sex", "Jinsia", SEXES),
        decimal("birth_weight", "Weight at birth (kg)", "Uzito wa kuzaliwa (kg)"),
    )
    items: tuple[Question | Group, ...] = (
        _inputs("person"),
        *_patient(),
        Group(
            "delivery_outcome",
            (
                integer("babies_delivered", "How many babies?", "Watoto wangapi?"),
                date("delivery_date", "Date of delivery", "Tarehe ya kujifungua"),
                typed("delivery_time", "time", "Time of delivery", "Saa ya kujifungua"),
            ),
            ("Delivery", "Kujifungua"),
        ),
        one_of("delivery_place", "Where was it?", "Ilikuwa wapi?", places),
        Group("babies", baby, ("Babies", "Watoto"), repeated=True),
        Group(
            "pnc_visits",
            (
                some_of("days", "Days of visits to come", "Siku za ziara zijazo", days),
                yes_no("within_24_hrs", "Seen within 24 hours?", "Alionekana ndani ya saa 24?"),
            ),
        ),
    )
    return Form("delivery", ("Delivery", "Kujifungua"), items, "delivery")


def _assessment() -> Form:
    items: tuple[Question | Group, ...] = (
        _inputs("person"),
        *_patient(),
        Group(
            "group_fever",
            (
                yes_no("patient_fever", "Has the patient fever?", "Je, mgonjwa ana homa?"),
                integer("fever_duration", "For how many days?", "Kwa siku ngapi?"),
            ),
            ("Fever", "Homa"),
        ),
        Group(
            "group_breathing",
            (
                integer("breath_count", "Breaths in a minute", "Pumzi kwa dakika"),
                yes_no("chest_indrawing", "Is the chest drawn in?", "Je, kifua kinabonyea?"),
            ),
            ("Breathing", "Kupumua"),
        ),
        Group(
            "group_diagnosis",
            (
                some_of("symptoms", "Which symptoms?", "Dalili gani?", SYMPTOM_CHOICES),
                decimal("muac", "Upper arm (cm)", "Mzingo wa mkono (sm)"),
            ),
        ),
        Group(
            "treatment",
            (
                some_of("given", "What did you give?", "Ulitoa nini?", ITEMS),
                yes_no("referral", "Did you refer?", "Je, ulitoa rufaa?"),
            ),
        ),
        text("note", "Anything else?", "Kingine chochote?"),
    )
    return Form("assessment", ("Assessment", "Tathmini"), items, "assessment")


def _immunization() -> Form:
    received = tuple(
        yes_no(
            f"received_{name}", f"{name.replace('_', ' ').capitalize()} given?", f"{name.replace('_', ' ')} imetolewa?"
        )
        for name in VACCINES
    )
    items: tuple[Question | Group, ...] = (
        _inputs("person"),
        *_patient(),
        Group("vaccines_received", received, ("Vaccines", "Chanjo")),
        date("visit_date", "Date of the visit", "Tarehe ya ziara"),
        date("next_visit_date", "Next visit", "Ziara ijayo"),
    )
    return Form("immunization_visit", ("Immunization visit", "Ziara ya chanjo"), items, "immunization_visit")


def _stock() -> Form:
    def counted(item: Choice) -> Group:
        asked = (
            ("received", "received", "zilizopokelewa"),
            ("used", "used", "zilizotumika"),
            ("left", "left", "zilizobaki"),
        )
        return Group(
            item[0], tuple(integer(name, f"{item[1]} {en}", f"{item[2]} {sw}") for name, en, sw in asked), item[1:]
        )

    items: tuple[Question | Group, ...] = (
        _inputs("clinic"),
        calculated("place_id", "../inputs/contact/_id"),
        text("period", "Month (YYYY-MM)", "Mwezi (YYYY-MM)"),
        typed("counted_at", "dateTime", "When did you count?", "Ulihesabu lini?"),
        Group("items", tuple(counted(item) for item in ITEMS), ("Stock", "Akiba")),
        some_of("stock_out", "What ran out?", "Nini kilikwisha?", ITEMS),
    )
    return Form("stock_report", ("Stock report", "Ripoti ya akiba"), items, "stock_report", ("place",))


APP_FORMS: tuple[Form, ...] = (
    pregnancy(1), _home_visit(), _delivery(), _assessment(), _immunization(), _stock(),
)  # fmt: skip
