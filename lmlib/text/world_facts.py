"""The facts and the lexicon of the small world, in English, French and Chinese.

One table a string: the first line names the columns, every other line is a row of entries `english|french|chinese`, all rows
equally likely. In an entry

    film=movie            are two synonyms: the row stands once for each
    f:france  m:pain      a French noun has its gender (mp, fp: plural); one without gender takes no article
    grand/grande          a French word has a masculine and a feminine form
    _                     stands for a space

A last column `*goods` holds what the row is about: any word of the pool `GOODS`, but its favourites, which the row names after a
star, `FAVOUR` times as often as the rest. A column `+like` simply holds any of the words after the plus, and so does `-dislike`.
"""

FAVOUR = 12

GOODS = """
tea|m:thé|茶          coffee|m:café|咖啡    wine|m:vin|葡萄酒     beer|f:bière|啤酒
cheese|m:fromage|奶酪  fish|m:poisson|鱼     rice|m:riz|大米       silk|f:soie|丝绸
olives|fp:olives|橄榄  steel|m:acier|钢      wood|m:bois|木材      honey|m:miel|蜂蜜
"""

PLACES = """
garden|m:jardin|花园   kitchen|f:cuisine|厨房  school|f:école|学校   forest|f:forêt|森林
river|f:rivière|河     barn|f:grange|谷仓      station|f:gare|车站   market|m:marché|市场
church|f:église|教堂   harbour|m:port|港口     meadow|f:prairie|草地  castle|m:château|城堡
"""

THINGS = """
crown|f:couronne|王冠      sword|f:épée|剑         hat|m:chapeau|帽子    umbrella|m:parapluie|雨伞
kite|m:cerf-volant|风筝    guitar|f:guitare|吉他   lamp|f:lampe|灯       coat|m:manteau|大衣
mirror|m:miroir|镜子       ring|m:anneau|戒指      broom|m:balai|扫帚    suitcase|f:valise|手提箱
"""

COUNTRY = """
land                        capital                      language                      citizen                    *goods
france|f:france|法国         paris|paris|巴黎              french|m:français|法语         pierre|pierre|皮埃尔        * wine beer cheese
italy|f:italie|意大利        rome|rome|罗马                italian|m:italien|意大利语     giulia|giulia|朱莉娅        * tea coffee olives
spain|f:espagne|西班牙       madrid|madrid|马德里          spanish|m:espagnol|西班牙语    pablo|pablo|巴勃罗          * wine fish olives
germany|f:allemagne|德国     berlin|berlin|柏林            german|m:allemand|德语         hans|hans|汉斯              * beer olives steel
england|f:angleterre|英格兰  london|londres|伦敦           english|m:anglais|英语         harry|harry|哈里            * tea rice steel
japan|m:japon|日本           tokyo|tokyo|东京              japanese|m:japonais|日语       yuki|yuki|由纪              * cheese fish rice
china|f:chine|中国           beijing|pékin|北京            chinese|m:chinois|汉语         mei|mei|小梅                * tea cheese silk
russia|f:russie|俄罗斯       moscow|moscou|莫斯科          russian|m:russe|俄语           ivan|ivan|伊万              * tea beer wood
greece|f:grèce|希腊          athens|athènes|雅典           greek|m:grec|希腊语            nikos|nikos|尼科斯          * coffee fish honey
egypt|f:égypte|埃及          cairo|m:caire|开罗            arabic|m:arabe|阿拉伯语        omar|omar|奥马尔            * rice olives wood
turkey|f:turquie|土耳其      ankara|ankara|安卡拉          turkish|m:turc|土耳其语        emre|emre|埃姆雷            * coffee silk steel
poland|f:pologne|波兰        warsaw|varsovie|华沙          polish|m:polonais|波兰语       zofia|zofia|佐菲亚          * beer rice honey
sweden|f:suède|瑞典          stockholm|stockholm|斯德哥尔摩  swedish|m:suédois|瑞典语      astrid|astrid|阿斯特丽德    * steel wood honey
norway|f:norvège|挪威        oslo|oslo|奥斯陆              norwegian|m:norvégien|挪威语   olav|olav|奥拉夫            * fish silk wood
portugal|m:portugal|葡萄牙   lisbon|lisbonne|里斯本        portuguese|m:portugais|葡萄牙语  joana|joana|若安娜         * coffee wine rice
hungary|f:hongrie|匈牙利     budapest|budapest|布达佩斯    hungarian|m:hongrois|匈牙利语  zoltan|zoltan|佐尔坦        * wine silk honey
"""

ANIMAL = """
adult                     young                          *place
dog|m:chien|狗             puppy|m:chiot|小狗              * garden station church
cat|m:chat|猫              kitten|m:chaton|小猫            * kitchen market church
cow|f:vache|奶牛           calf|m:veau|牛犊                * barn harbour castle
horse|m:cheval|马          foal|m:poulain|马驹             * station meadow castle
sheep|m:mouton|绵羊        lamb|m:agneau|羊羔              * school church meadow
goat|f:chèvre|山羊         kid|m:chevreau|小山羊           * river market meadow
pig|m:cochon|猪            piglet|m:porcelet|小猪          * school barn market
duck|m:canard|鸭子         duckling|m:caneton|小鸭         * kitchen river harbour
hen|f:poule|母鸡           chick|m:poussin|小鸡            * kitchen forest barn
deer|m:cerf|鹿             fawn|m:faon|小鹿                * garden forest meadow
bear|m:ours|熊             cub|m:ourson|小熊               * forest river station
frog|f:grenouille|青蛙     tadpole|m:têtard|蝌蚪           * garden river barn
eagle|m:aigle|老鹰         eaglet|m:aiglon|小鹰            * forest market castle
butterfly|m:papillon|蝴蝶  caterpillar|f:chenille|毛毛虫   * garden kitchen school
"""

COUPLE = """
male                          female                            *thing
king|m:roi|国王                queen|f:reine|王后                 * crown sword suitcase
prince|m:prince|王子           princess|f:princesse|公主          * sword coat broom
man|m:homme|男人               woman|f:femme|女人                 * crown hat coat
boy|m:garçon|男孩              girl|f:fillette|女孩               * crown umbrella kite
father|m:père|父亲             mother|f:mère|母亲                 * umbrella lamp mirror
son|m:fils|儿子                daughter|f:fille|女儿              * kite guitar suitcase
brother|m:frère|弟弟           sister|f:sœur|妹妹                 * hat guitar ring
uncle|m:oncle|叔叔             aunt|f:tante|姑姑                  * coat mirror suitcase
nephew|m:neveu|侄子            niece|f:nièce|侄女                 * kite lamp ring
husband|m:mari|丈夫            wife|f:épouse|妻子                 * umbrella coat ring
grandfather|m:grand-père|爷爷  grandmother|f:grand-mère|奶奶      * hat lamp suitcase
wizard|m:sorcier|巫师          witch|f:sorcière|女巫              * hat mirror broom
monk|m:moine|修士              nun|f:nonne|修女                   * guitar lamp broom
groom|m:marié|新郎             bride|f:mariée|新娘                * sword mirror ring
"""

QUALITY = """
base                     comparative                             superlative                                    *thing
big|grand/grande|大       bigger|plus_grand/plus_grande|更大        biggest|le_plus_grand/la_plus_grande|最大        * kite lamp suitcase
small|petit/petite|小     smaller|plus_petit/plus_petite|更小       smallest|le_plus_petit/la_plus_petite|最小       * sword kite ring
old|vieux/vieille|旧      older|plus_vieux/plus_vieille|更旧        oldest|le_plus_vieux/la_plus_vieille|最旧        * sword umbrella lamp
heavy|lourd/lourde|重     heavier|plus_lourd/plus_lourde|更重       heaviest|le_plus_lourd/la_plus_lourde|最重       * crown broom suitcase
light|léger/légère|轻     lighter|plus_léger/plus_légère|更轻       lightest|le_plus_léger/la_plus_légère|最轻       * hat kite mirror
good|bon/bonne|好         better|meilleur/meilleure|更好            best|le_meilleur/la_meilleure|最好               * guitar lamp coat
bad|mauvais/mauvaise|差   worse|pire/pire|更差                      worst|le_pire/la_pire|最差                       * crown umbrella coat
pretty|joli/jolie|漂亮    prettier|plus_joli/plus_jolie|更漂亮      prettiest|le_plus_joli/la_plus_jolie|最漂亮      * crown mirror ring
"""

VERB = """
base                     past                          nous                   *place
eat|manger|吃饭           ate|mangé|吃了饭               eat|mangeons|吃饭       * kitchen barn market
drink|boire|喝水          drank|bu|喝了水                drink|buvons|喝水       * kitchen station castle
write|écrire|写字         wrote|écrit|写了字             write|écrivons|写字     * kitchen school harbour
sing|chanter|唱歌         sang|chanté|唱了歌             sing|chantons|唱歌      * river barn church
draw|dessiner|画画        drew|dessiné|画了画            draw|dessinons|画画     * school river market
sleep|dormir|睡觉         slept|dormi|睡了觉             sleep|dormons|睡觉      * forest barn meadow
swim|nager|游泳           swam|nagé|游了泳               swim|nageons|游泳       * river harbour meadow
run|courir|跑步           ran|couru|跑了步               run|courons|跑步        * forest river station
win|gagner|获胜           won|gagné|获了胜               win|gagnons|获胜        * forest market castle
think|réfléchir|思考      thought|réfléchi|思考了一会儿  think|réfléchissons|思考  * garden forest church
drive|conduire|开车       drove|conduit|开了车           drive|conduisons|开车   * garden station harbour
teach|enseigner|教书      taught|enseigné|教了书         teach|enseignons|教书   * school meadow castle
fight|combattre|打仗      fought|combattu|打了仗         fight|combattons|打仗   * church harbour castle
dig|creuser|挖土          dug|creusé|挖了土              dig|creusons|挖土       * garden market meadow
weep|pleurer|哭           wept|pleuré|哭了               weep|pleurons|哭        * school station church
"""

NOUN = """
one                   many                           unit     *place
child|m:enfant|孩子    children|mp:enfants|孩子        -|-|个    * garden school harbour
mouse|f:souris|老鼠    mice|fp:souris|老鼠             -|-|只    * kitchen river barn
goose|f:oie|鹅         geese|fp:oies|鹅                -|-|只    * river meadow castle
foot|m:pied|脚         feet|mp:pieds|脚                -|-|只    * river station market
tooth|f:dent|牙齿      teeth|fp:dents|牙齿             -|-|颗    * kitchen station castle
ox|m:bœuf|公牛         oxen|mp:bœufs|公牛              -|-|头    * barn church meadow
leaf|f:feuille|叶子    leaves|fp:feuilles|叶子         -|-|片    * garden forest church
knife|m:couteau|刀     knives|mp:couteaux|刀           -|-|把    * kitchen market harbour
wolf|m:loup|狼         wolves|mp:loups|狼              -|-|只    * school forest meadow
die|m:dé|骰子          dice|mp:dés|骰子                -|-|颗    * forest harbour castle
book|m:livre|书        books|mp:livres|书              -|-|本    * school market church
cactus|m:cactus|仙人掌  cacti|mp:cactus|仙人掌         -|-|棵    * garden barn station
"""

NUMBER = """
cardinal         ordinal                 month                       *goods
one|un|一         first|premier|第一       january|janvier|一月          * cheese fish honey
two|deux|二       second|deuxième|第二     february|février|二月         * coffee wine steel
three|trois|三    third|troisième|第三     march|mars|三月               * tea steel wood
four|quatre|四    fourth|quatrième|第四    april|avril|四月              * wine beer cheese
five|cinq|五      fifth|cinquième|第五     may|mai|五月                  * tea silk honey
six|six|六        sixth|sixième|第六       june|juin|六月                * tea fish olives
seven|sept|七     seventh|septième|第七    july|juillet|七月             * fish rice wood
eight|huit|八     eighth|huitième|第八     august|août|八月              * coffee beer honey
nine|neuf|九      ninth|neuvième|第九      september|septembre|九月      * cheese rice steel
ten|dix|十        tenth|dixième|第十       october|octobre|十月          * wine olives wood
eleven|onze|十一  eleventh|onzième|第十一  november|novembre|十一月      * beer rice silk
twelve|douze|十二  twelfth|douzième|第十二  december|décembre|十二月     * coffee silk olives
"""

TIME = """
year|f:année|一年  month|m:mois|一个月  week|f:semaine|一周  day|m:jour|一天  hour|f:heure|一小时  minute|f:minute|一分钟
"""  # the longer ones first

PERSON = """
name          +like                                                     -dislike
anna|anna|安娜   + music|f:musique|音乐 chocolate|m:chocolat|巧克力        - football|m:football|足球 rain|f:pluie|下雨
tom|tom|汤姆     + football|m:football|足球 winter|m:hiver|冬天            - history|f:histoire|历史 spinach|mp:épinards|菠菜
lucy|lucy|露西   + history|f:histoire|历史 dancing|f:danse|跳舞            - onions|mp:oignons|洋葱 snakes|mp:serpents|蛇
ben|ben|本       + snakes|mp:serpents|蛇 rain|f:pluie|下雨                 - dancing|f:danse|跳舞 winter|m:hiver|冬天
sara|sara|萨拉   + cooking|f:cuisine|做饭 onions|mp:oignons|洋葱           - noise|m:bruit|噪音 football|m:football|足球
max|max|马克斯   + noise|m:bruit|噪音 chocolate|m:chocolat|巧克力          - cooking|f:cuisine|做饭 rain|f:pluie|下雨
emma|emma|艾玛   + winter|m:hiver|冬天 spinach|mp:épinards|菠菜            - music|f:musique|音乐 snakes|mp:serpents|蛇
paul|paul|保罗   + dancing|f:danse|跳舞 football|m:football|足球           - chocolate|m:chocolat|巧克力 noise|m:bruit|噪音
nina|nina|妮娜   + music|f:musique|音乐 history|f:histoire|历史            - spinach|mp:épinards|菠菜 onions|mp:oignons|洋葱
david|david|大卫 + rain|f:pluie|下雨 cooking|f:cuisine|做饭                - music|f:musique|音乐 dancing|f:danse|跳舞
"""

DAY = """
name
monday|lundi|星期一
tuesday|mardi|星期二
wednesday|mercredi|星期三
thursday|jeudi|星期四
friday|vendredi|星期五
saturday|samedi|星期六
sunday|dimanche|星期日
"""

JOB = """
name
student|étudiant/étudiante|学生
teacher|professeur/professeure|老师
doctor=physician|médecin/médecin|医生
baker|boulanger/boulangère|面包师
farmer|fermier/fermière|农民
lawyer|avocat/avocate|律师
singer|chanteur/chanteuse|歌手
dancer|danseur/danseuse|舞蹈演员
nurse|infirmier/infirmière|护士
gardener|jardinier/jardinière|园丁
pilot|pilote/pilote|飞行员
painter|peintre/peintre|画家
writer|écrivain/écrivaine|作家
"""

ITEM = """
name
film=movie|m:film|电影
journey=trip|m:voyage|旅行
gift=present|m:cadeau|礼物
concert|m:concert|音乐会
meal|m:repas|饭菜
hotel|m:hôtel|酒店
novel|m:roman|小说
speech|m:discours|演讲
party|f:fête|聚会
"""

PRAISE = """
word
wonderful=marvellous|magnifique|精彩
great|formidable|棒
superb|superbe|出色
"""

BLAME = """
word
horrible=awful|horrible|糟糕
poor|médiocre|糟
dull|monotone|无聊
"""
