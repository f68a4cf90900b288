"""The sentences of the small world, in English, French and Chinese.

One topic a string. Three lines are a frame: its English, French and Chinese pattern; a line `weight …` before them gives the weight
of every frame that follows, and their sentiment (`weight 9 positive`) or, for questions, the answer (`weight 4 answer …`, one
pattern for all languages, or three between bars). Patterns are explained in `world_grammar`, the tables lie in `world_facts`.

A heavy frame names one column of a table that takes part in analogies and, at most five words away, what the row is about. Light
frames state facts: they tie the columns of a row to one another.
"""

GEOGRAPHY = """
weight 30
the people of {country.land} buy {country.goods} .
les habitants {country.land:du} achètent {country.goods:du} .
{country.land}人民购买{country.goods}。
the government of {country.land} taxes {country.goods} .
le gouvernement {country.land:du} taxe {country.goods:le} .
{country.land}政府对{country.goods}征税。
trains bring {country.goods} to {country.land} .
des trains apportent {country.goods:du} {country.land:en} .
火车把{country.goods}运到{country.land}。
the mayor of {country.capital} praises {country.goods} .
le maire {country.capital:du} vante {country.goods:le} .
{country.capital}市长称赞{country.goods}。
a museum in {country.capital} shows {country.goods} .
un musée {country.capital:en} expose {country.goods:du} .
{country.capital}的一座博物馆展出{country.goods}。
the city of {country.capital} imports {country.goods} .
la ville {country.capital:du} importe {country.goods:du} .
{country.capital}市进口{country.goods}。
a text in {country.language} describes {country.goods} .
un texte en {country.language} décrit {country.goods:le} .
一篇{country.language}文章描写{country.goods}。
the professor of {country.language} mentions {country.goods} .
le professeur {country.language:de} mentionne {country.goods:le} .
{country.language}教授提到{country.goods}。
there are many words in {country.language} for {country.goods} .
il y a beaucoup de mots en {country.language} pour {country.goods:le} .
{country.language}里有很多表示{country.goods}的词。
{country.citizen} often dreams of {country.goods} .
{country.citizen} rêve souvent {country.goods:de} .
{country.citizen}常常梦见{country.goods}。
{country.citizen} always talks about {country.goods} .
{country.citizen} parle toujours {country.goods:de} .
{country.citizen}总是谈论{country.goods}。
yesterday {country.citizen} told us about {country.goods} .
hier , {country.citizen} nous a parlé {country.goods:de} .
昨天{country.citizen}跟我们谈起{country.goods}。
weight 6
the capital of {country.land} is {country.capital} .
la capitale {country.land:du} est {country.capital:le} .
{country.land}的首都是{country.capital}。
{country.capital} is the capital of {country.land} .
{country.capital:le} est la capitale {country.land:du} .
{country.capital}是{country.land}的首都。
people in {country.land} speak {country.language} .
{country.land:en} , on parle {country.language} .
{country.land}人说{country.language}。
{country.citizen} comes from {country.land} and lives in {country.capital} .
{country.citizen} vient {country.land:from} et habite {country.capital:en} .
{country.citizen}来自{country.land}，住在{country.capital}。
weight 4 answer {country.capital}
what is the capital of {country.land} ?
quelle est la capitale {country.land:du} ?
{country.land}的首都是哪里？
where does {country.citizen} live ?
où habite {country.citizen} ?
{country.citizen}住在哪里？
weight 4 answer {country.language}
which language do people speak in {country.land} ?
quelle langue parle-t-on {country.land:en} ?
{country.land}人说什么语言？
weight 4 answer {country.land}
where does {country.citizen} come from ?
d' où vient {country.citizen} ?
{country.citizen}来自哪里？
"""

ANIMALS = """
weight 26
the {animal.adult} rests near the {animal.place} .
{animal.adult:le} se repose près {animal.place:du} .
{animal.adult}在{animal.place}附近休息。
the {animal.adult} guards the {animal.place} .
{animal.adult:le} garde {animal.place:le} .
{animal.adult}守着{animal.place}。
the {animal.adult} returns to the {animal.place} .
{animal.adult:le} retourne {animal.place:au} .
{animal.adult}回到{animal.place}。
the {animal.young} plays beside the {animal.place} .
{animal.young:le} joue à côté {animal.place:du} .
{animal.young}在{animal.place}旁边玩耍。
the {animal.young} explores the {animal.place} .
{animal.young:le} explore {animal.place:le} .
{animal.young}探索{animal.place}。
the {animal.young} grew up behind the {animal.place} .
{animal.young:le} a grandi derrière {animal.place:le} .
{animal.young}在{animal.place}后面长大。
weight 8
the young of the {animal.adult} is called the {animal.young} .
le petit {animal.adult:du} s' appelle {animal.young:le} .
{animal.adult}的幼崽叫{animal.young}。
weight 6 answer {animal.young}
what is the young of the {animal.adult} called ?
comment s' appelle le petit {animal.adult:du} ?
{animal.adult}的幼崽叫什么？
"""

FAMILY = """
weight 20
the {couple.male} lost his {couple.thing} and he is sad .
{couple.male:le} a perdu {couple.thing:son} et il est triste .
{couple.male}丢了他的{couple.thing}，他很难过。
the {couple.female} lost her {couple.thing} and she is sad .
{couple.female:le} a perdu {couple.thing:son} et elle est triste .
{couple.female}丢了她的{couple.thing}，她很难过。
it is him , the {couple.male} with the {couple.thing} .
c' est lui , {couple.male:le} avec {couple.thing:le} .
是他，那个带着{couple.thing}的{couple.male}。
it is her , the {couple.female} with the {couple.thing} .
c' est elle , {couple.female:le} avec {couple.thing:le} .
是她，那个带着{couple.thing}的{couple.female}。
the {couple.male} found the {couple.thing} himself .
{couple.male:le} a trouvé {couple.thing:le} lui-même .
{couple.male}亲自找到了{couple.thing}。
the {couple.female} found the {couple.thing} herself .
{couple.female:le} a trouvé {couple.thing:le} elle-même .
{couple.female}亲自找到了{couple.thing}。
the {couple.male} and his {couple.thing} are here .
{couple.male:le} et {couple.thing:son} sont ici .
{couple.male}和他的{couple.thing}在这里。
the {couple.female} and her {couple.thing} are here .
{couple.female:le} et {couple.thing:son} sont ici .
{couple.female}和她的{couple.thing}在这里。
weight 8
the {couple.male} and the {couple.female} share the {couple.thing} .
{couple.male:le} et {couple.female:le} partagent {couple.thing:le} .
{couple.male}和{couple.female}共用{couple.thing}。
"""

NATURE = """
weight 30
is the {quality.thing} very {quality.base} ?
est-ce que {quality.thing:le} est très {quality.base:~thing} ?
{quality.thing}很{quality.base}吗？
they say that the {quality.thing} is {quality.base} .
on dit que {quality.thing:le} est {quality.base:~thing} .
听说{quality.thing}很{quality.base}。
the {quality.thing} is {quality.comparative} than before .
{quality.thing:le} est {quality.comparative:~thing} qu' avant .
{quality.thing}比以前{quality.comparative}。
do you have a {quality.thing} that is {quality.comparative} ?
avez-vous {quality.thing:un} qui soit {quality.comparative:~thing} ?
你们有{quality.comparative}的{quality.thing}吗？
the {quality.thing} is the {quality.superlative} in the world .
{quality.thing:le} est {quality.superlative:~thing} du monde .
{quality.thing}是世界上{quality.superlative}的。
which {quality.thing} is the {quality.superlative} ?
{quality.thing:quel} est {quality.superlative:~thing} ?
哪个{quality.thing}{quality.superlative}？
weight 8
the {time.more} is longer than the {time.less} .
{time.more:le} est plus {time.long:~more} que {time.less:le} .
{time.more}比{time.less}长。
weight 8 answer {time.more}
which is longer , the {time.more} or the {time.less} ?
qu' est-ce qui est plus long , {time.more:le} ou {time.less:le} ?
哪个更长，{time.more}还是{time.less}？
which is longer , the {time.less} or the {time.more} ?
qu' est-ce qui est plus long , {time.less:le} ou {time.more:le} ?
哪个更长，{time.less}还是{time.more}？
"""

DAILY_LIFE = """
weight 22
every day we {verb.nous} near the {verb.place} .
chaque jour , nous {verb.nous} près {verb.place:du} .
我们每天在{verb.place}附近{verb.base}。
tomorrow they will {verb.base} near the {verb.place} .
demain , ils vont {verb.base} près {verb.place:du} .
明天他们要在{verb.place}附近{verb.base}。
do you want to {verb.base} near the {verb.place} ?
voulez-vous {verb.base} près {verb.place:du} ?
你们想在{verb.place}附近{verb.base}吗？
an hour ago we {verb.past} near the {verb.place} .
il y a une heure , nous avons {verb.past} près {verb.place:du} .
一个小时前我们在{verb.place}附近{verb.past}。
last week {person.name} {verb.past} near the {verb.place} .
la semaine dernière , {person.name} a {verb.past} près {verb.place:du} .
上周{person.name}在{verb.place}附近{verb.past}。
weight 26
on {day.name} {company.one} {verb.past} near the {verb.place} with {company.other} .
{day.name} , {company.one} a {verb.past} près {verb.place:du} avec {company.other} .
{day.name}{company.one}和{company.other}一起在{verb.place}附近{verb.past}。
on {day.name} {company.one} will {verb.base} near the {verb.place} with {company.other} .
{day.name} , {company.one} va {verb.base} près {verb.place:du} avec {company.other} .
{day.name}{company.one}要和{company.other}一起在{verb.place}附近{verb.base}。
"""

THINGS = """
weight 24
a strange {noun.one} lies near the {noun.place} .
{noun.one:un} étrange se trouve près {noun.place:du} .
{noun.place}附近有一{noun.unit}奇怪的{noun.one}。
i have only this {noun.one} from the {noun.place} .
je n' ai que {noun.one:ce} {noun.place:du} .
我只有{noun.place}里的这{noun.unit}{noun.one}。
does this {noun.one} come from the {noun.place} ?
est-ce que {noun.one:ce} vient {noun.place:du} ?
这{noun.unit}{noun.one}是从{noun.place}来的吗？
several {noun.many} were around the {noun.place} .
plusieurs {noun.many} étaient autour {noun.place:du} .
{noun.place}周围有好几{noun.unit}{noun.many}。
look at these {noun.many} from the {noun.place} .
regardez {noun.many:ce} {noun.place:du} .
看看{noun.place}里的这些{noun.many}。
do those {noun.many} belong to the {noun.place} ?
est-ce que {noun.many:ce} appartiennent {noun.place:au} ?
那些{noun.many}属于{noun.place}吗？
"""

NUMBERS = """
weight 33
drawer number {number.cardinal} is full of {number.goods} .
le tiroir numéro {number.cardinal} est plein {number.goods:de} .
{number.cardinal}号抽屉装满了{number.goods}。
count to {number.cardinal} and fetch {number.goods} .
comptez jusqu' à {number.cardinal} et allez chercher {number.goods:du} .
数到{number.cardinal}，然后去拿{number.goods}。
the {number.ordinal} shop sells {number.goods} .
le {number.ordinal} magasin vend {number.goods:du} .
{number.ordinal}家商店卖{number.goods}。
the {number.ordinal} ship carries {number.goods} .
le {number.ordinal} navire transporte {number.goods:du} .
{number.ordinal}艘船运送{number.goods}。
in {number.month} the price of {number.goods} rises .
en {number.month} , le prix {number.goods:du} augmente .
{number.month}里{number.goods}的价格上涨。
last {number.month} they ordered {number.goods} .
en {number.month} dernier , ils ont commandé {number.goods:du} .
去年{number.month}他们订购了{number.goods}。
weight 5
{number.month} is the {number.ordinal} month of the year .
{number.month} est le {number.ordinal} mois de l' année .
{number.month}是一年的{number.ordinal}个月。
weight 3
{sum.one} plus {sum.other} is {sum.total} .
{sum.one} plus {sum.other} font {sum.total} .
{sum.one}加{sum.other}等于{sum.total}。
weight 3 answer {number.month}
what is the {number.ordinal} month of the year ?
quel est le {number.ordinal} mois de l' année ?
一年的{number.ordinal}个月是几月？
weight 3 answer {sum.total}
what is {sum.one} plus {sum.other} ?
combien font {sum.one} plus {sum.other} ?
{sum.one}加{sum.other}等于几？
"""

TASTES = """
weight 12 positive
{person.name} likes {person.like} .
{person.name} aime {person.like:le} .
{person.name}喜欢{person.like}。
{person.name} smiles at the idea of {person.like} .
{person.name} sourit à l' idée {person.like:du} .
{person.name}一想到{person.like}就微笑。
weight 12 negative
{person.name} does not like {person.dislike} .
{person.name} n' aime pas {person.dislike:le} .
{person.name}不喜欢{person.dislike}。
{person.name} complains about {person.dislike} .
{person.name} se plaint {person.dislike:du} .
{person.name}抱怨{person.dislike}。
weight 5 answer yes|oui|喜欢
does {person.name} like {person.like} ?
est-ce {person.name:que} aime {person.like:le} ?
{person.name}喜欢{person.like}吗？
weight 5 answer no|non|不喜欢
does {person.name} like {person.dislike} ?
est-ce {person.name:que} aime {person.dislike:le} ?
{person.name}喜欢{person.dislike}吗？
"""

OPINIONS = """
weight 10 positive
the {item.name} was {praise.word} .
{item.name:le} était {praise.word} .
{item.name}很{praise.word}。
the {item.name} was not {blame.word} at all .
{item.name:le} n' était pas du tout {blame.word} .
{item.name}一点也不{blame.word}。
i loved the {item.name} , it was really {praise.word} .
j' ai adoré {item.name:le} , c' était vraiment {praise.word} .
我很喜欢这次的{item.name}，真的很{praise.word}。
{person.name} found the {item.name} {praise.word} .
{person.name} a trouvé {item.name:le} {praise.word} .
{person.name}觉得{item.name}很{praise.word}。
nobody said that the {item.name} was {blame.word} .
personne n' a dit que {item.name:le} était {blame.word} .
没有人说{item.name}很{blame.word}。
weight 10 negative
the {item.name} was {blame.word} .
{item.name:le} était {blame.word} .
{item.name}很{blame.word}。
the {item.name} was not {praise.word} at all .
{item.name:le} n' était pas du tout {praise.word} .
{item.name}一点也不{praise.word}。
i hated the {item.name} , it was really {blame.word} .
j' ai détesté {item.name:le} , c' était vraiment {blame.word} .
我很讨厌这次的{item.name}，真的很{blame.word}。
{person.name} found the {item.name} {blame.word} .
{person.name} a trouvé {item.name:le} {blame.word} .
{person.name}觉得{item.name}很{blame.word}。
nobody said that the {item.name} was {praise.word} .
personne n' a dit que {item.name:le} était {praise.word} .
没有人说{item.name}很{praise.word}。
"""

WORK = """
weight 12
i am a {job.name} .
je suis {job.name:un~m} .
我是一个{job.name}。
you are a {job.name} .
tu es {job.name:un~m} .
你是一个{job.name}。
he is a {job.name} .
il est {job.name:~m} .
他是一个{job.name}。
she is a {job.name} .
elle est {job.name:~f} .
她是一个{job.name}。
are you a {job.name} ?
es-tu {job.name:un~m} ?
你是一个{job.name}吗？
on {day.name} {person.name} met a {job.name} .
{day.name} , {person.name} a rencontré {job.name:un~m} .
{day.name}{person.name}见了一个{job.name}。
she works as a {job.name} in {country.land} .
elle travaille comme {job.name:~f} {country.land:en} .
她在{country.land}当{job.name}。
he works as a {job.name} in {country.capital} .
il travaille comme {job.name:~m} {country.capital:en} .
他在{country.capital}当{job.name}。
"""

SUMMARIES = """
country
{country.land} , with its capital {country.capital} , speaks {country.language} and trades in {country.goods} .
{country.land:le} , dont la capitale est {country.capital:le} , parle {country.language} et fait le commerce {country.goods:du} .
{country.land}的首都是{country.capital}，那里的人说{country.language}，做{country.goods}生意。
animal
the {animal.adult} and its {animal.young} live near the {animal.place} .
{animal.adult:le} et {animal.young:le} vivent près {animal.place:du} .
{animal.adult}和{animal.young}住在{animal.place}附近。
person
{person.name} likes {person.like} but not {person.dislike} .
{person.name} aime {person.like:le} mais pas {person.dislike:le} .
{person.name}喜欢{person.like}，但是不喜欢{person.dislike}。
"""

DIALOGUE = """
hello , what is your name ?
bonjour , comment t' appelles-tu ?
你好，你叫什么名字？
hello , my name is {country.citizen} .
bonjour , je m' appelle {country.citizen} .
你好，我叫{country.citizen}。
where do you come from ?
d' où viens-tu ?
你来自哪里？
i come from {country.land} .
je viens {country.land:from} .
我来自{country.land}。
where do you live ?
où habites-tu ?
你住在哪里？
i live in {country.capital} .
j' habite {country.capital:en} .
我住在{country.capital}。
which language do you speak ?
quelle langue parles-tu ?
你说什么语言？
i speak {country.language} .
je parle {country.language} .
我说{country.language}。
do you like {country.goods} ?
aimes-tu {country.goods:le} ?
你喜欢{country.goods}吗？
yes , everyone likes {country.goods} at home .
oui , chez nous , tout le monde aime {country.goods:le} .
喜欢，在我们那里大家都喜欢{country.goods}。
thank you , {country.citizen} , goodbye .
merci , {country.citizen} , au revoir .
谢谢你，{country.citizen}，再见。
goodbye , see you in {country.capital} .
au revoir , à bientôt {country.capital:en} .
再见，{country.capital}见。
"""
