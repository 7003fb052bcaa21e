"""Pools of words the generated documents are written with."""

FIRST_NAMES = {
    "female": (
        "Sita", "सीता", "गीता", "Amina", "Zawadi", "Achieng", "አበባ", "ሰላማዊት", "Aïssatou", "Éloïse", "Fatoumata",
        "Nakato", "Wanjikũ", "Thandiwe", "Mariam", "Nyokabi", "Chidinma", "Łucja", "प्रिया", "Bintou",
    ),
    "male": (
        "Ram", "हरि", "कृष्ण", "Juma", "Baraka", "Otieno", "አበበ", "ዳዊት", "Ousmane", "François", "Mamadou",
        "Kato", "Kamau", "Sipho", "Ibrahim", "Mwangi", "Chukwuemeka", "Søren", "विष्णु", "Kofi",
    ),
}  # fmt: skip
FAMILY_NAMES = (
    "Shrestha", "श्रेष्ठ", "थापा", "Wanjala", "Odhiambo", "Mwakio", "ተስፋዬ", "ገብረ", "N'Diaye", "Traoré", "Okonkwo",
    "Nankya", "Njoroge", "Dlamini", "Müller-Kanté", "Ochieng", "Tamang", "राई", "Diallo", "O'Connor",
)  # fmt: skip
PLACES = (
    "Bhaktapur", "भक्तपुर", "Kakamega", "Siaya", "ባሕር ዳር", "አዲስ አበባ", "Ségou", "Ziguinchor", "Mwanza", "Zanzibar Mjini",
    "Muhoroni", "Dang दाङ", "Gondar ጎንደር", "Thiès", "Kisumu", "Baglung",
)  # fmt: skip
NOTES = (
    "", "", "", "Lives behind the market", "घर मन्दिर नजिकै छ", "ቤቱ ከትምህርት ቤቱ አጠገብ ነው",
    "Près de l'école, à côté du puits",
    "Anaishi karibu na kituo cha afya 🏥", "Twin sister 👩🏾‍🤝‍👩🏾 registered as well",
    "C:\\u0000dir", "says \"call\tlater\"\nor never",
)  # fmt: skip
SYMPTOMS = ("fever", "cough", "diarrhoea", "fast_breathing", "vomiting", "convulsions", "rash")
VACCINES = ("bcg", "opv_0", "opv_1", "penta_1", "penta_2", "penta_3", "pcv_1", "rota_1", "measles_1", "vitamin_a")
STOCK = ("paracetamol", "ors", "zinc", "act_6", "act_12", "amoxicillin", "rdt", "gloves", "chlorhexidine")
LANGUAGES = ("en", "ne", "sw", "fr", "am")
DEVICES = (
    ("TECNO MOBILE LIMITED", "TECNO BF7", "10", "QP1A.190711.020"),
    ("samsung", "SM-A037F", "13", "TP1A.220624.014"),
    ("Itel", "itel A571L", "11", "RP1A.201005.001"),
    ("Xiaomi", "Redmi 9A", "10", "QP1A.190711.020"),
    ("NEON", "SmartaPlus 5", "8.1.0", "O11019"),
)
APP_VERSIONS = ("4.2.0", "4.9.1", "4.15.0", "4.15.0", "3.17.2", "3.7.0")
